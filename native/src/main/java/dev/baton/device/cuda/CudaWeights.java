package dev.baton.device.cuda;

import static dev.baton.device.DType.BFLOAT16;
import static dev.baton.device.DType.FLOAT32;

import dev.baton.device.DType;
import dev.baton.device.GatedWeight;
import dev.baton.device.LinearWeight;
import dev.baton.device.Parallelism;
import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import java.lang.foreign.MemorySegment;

/**
 * Weights on one GPU: slices of a checkpoint are brought there and put in their places by kernels.
 * Any thread.
 */
final class CudaWeights {

  /** Loader threads that bring weights to the GPU at a time. */
  private static final int STAGINGS = 2;

  private static final int BLOCK = 256;
  private static final int ROW_BLOCK = 128;

  private final CudaGpu gpu;
  private final Stagings<WeightStaging> stagings;

  CudaWeights(CudaGpu gpu) {
    this.gpu = gpu;
    stagings = new Stagings<>(STAGINGS, () -> new WeightStaging(gpu));
  }

  /** GPU memory that bringing weights takes as a rule. */
  static long bytes() {
    return STAGINGS * WeightStaging.bytes();
  }

  /** A slice as a row-major tensor of float32 or bfloat16. */
  Tensor convert(WeightSlice slice, DType dtype) {
    if (dtype != FLOAT32 && dtype != BFLOAT16) {
      throw new IllegalArgumentException(
          "dtype: %s (expected: FLOAT32 or BFLOAT16)".formatted(dtype));
    }
    int columns = slice.columnTo() - slice.columnFrom();
    int from = WeightStaging.code(slice.dtype());
    int rowCount = slice.rowTo() - slice.rowFrom();
    Tensor to =
        new Tensor(
            dtype,
            rowCount,
            columns,
            gpu.allocate(
                (long) rowCount * columns * dtype.bytes(),
                "tensor %s [%d, %d]".formatted(dtype, rowCount, columns)));
    bring(
        slice,
        (launch, rows, row, count) ->
            launch
                .of("convert_floats")
                .address(to.address() + (long) row * columns * dtype.bytes())
                .number(WeightStaging.code(dtype))
                .address(rows)
                .number(from)
                .number((long) columns)
                .number(count)
                .number(columns)
                .run(Math.ceilDiv(columns, BLOCK), count, 1, BLOCK, 0));
    return to;
  }

  /** As {@link dev.baton.device.Device#packLinear} has it. */
  LinearWeight packLinear(WeightSlice slice, WeightFormat format, Parallelism parallelism) {
    requireFormat(format);
    Packing packing = Packing.of(slice, parallelism);
    int outputs = slice.rowTo() - slice.rowFrom();
    MemorySegment memory =
        gpu.allocate(
            packing.bytes(outputs),
            "weight %s [%d, %d]".formatted(format, outputs, packing.inputs()));
    pack(slice, packing, memory, 0);
    return new CudaLinearWeight(outputs, packing, memory);
  }

  /** As {@link dev.baton.device.Device#packGated} has it. */
  GatedWeight packGated(WeightSlice gate, WeightSlice up, WeightFormat format) {
    requireFormat(format);
    Packing packing = Packing.of(gate, Parallelism.COLUMN);
    int outputs = gate.rowTo() - gate.rowFrom();
    if (outputs != up.rowTo() - up.rowFrom()
        || !packing.equals(Packing.of(up, Parallelism.COLUMN))) {
      throw new IllegalArgumentException(
          "gate: [%d, %d], up: [%d, %d] (expected: the same shape)"
              .formatted(outputs, gate.columns(), up.rowTo() - up.rowFrom(), up.columns()));
    }
    MemorySegment memory =
        gpu.allocate(
            CudaGatedWeight.bytes(outputs, packing),
            "weight %s 2 * [%d, %d]".formatted(format, outputs, packing.inputs()));
    pack(gate, packing, memory, 1);
    pack(up, packing, memory, 2);
    return new CudaGatedWeight(outputs, packing, memory);
  }

  private static void requireFormat(WeightFormat format) {
    if (format != WeightFormat.BFLOAT16) {
      throw new IllegalArgumentException(
          "weights: %s on a GPU (expected: BFLOAT16; the CPU has kernels for %s)"
              .formatted(format, format));
    }
  }

  /**
   * @param kind 0 = rows one after the other, 1 = those of a gate, 2 = of what it lets through
   */
  private void pack(WeightSlice slice, Packing packing, MemorySegment memory, int kind) {
    int dtype = WeightStaging.code(slice.dtype());
    long columns = packing.inputs();
    bring(
        slice,
        (launch, rows, row, count) -> {
          long first = kind == 0 ? row : 2L * row;
          launch
              .of("pack_weight")
              .address(memory.address() + packing.bytes(first))
              .address(rows)
              .number(dtype)
              .number(columns)
              .number(count)
              .number(kind);
          packing.write(launch.struct(Packing.BYTES));
          int grid =
              kind == 0
                  ? count
                  : Math.ceilDiv(count, CudaGatedWeight.GROUP) * CudaGatedWeight.GROUP;
          launch.run(grid, ROW_BLOCK, 0);
        });
  }

  private void bring(WeightSlice slice, WeightStaging.Use use) {
    stagings.use(staging -> staging.bring(slice, use));
  }
}
