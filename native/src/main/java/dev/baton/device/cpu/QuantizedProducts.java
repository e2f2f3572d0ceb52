package dev.baton.device.cpu;

import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/**
 * One rank's products with quantized weights: quantizes the inputs once, then multiplies them with
 * any number of weights of the same format, inputs and ranges (see {@code bytes.h} for the
 * layouts). Used by the rank's thread alone.
 */
final class QuantizedProducts {

  private static final int TILE_INPUTS = 64;
  private static final int TILE_ROWS = 16;

  /** Outputs of two tiles side by side. */
  private static final int PAIR = 32;

  private static final int PAIR_BYTES_8 = PAIR * TILE_INPUTS;

  /** Nibbles, and a bfloat16 scale for each output. */
  private static final int PAIR_BYTES_4 = PAIR * TILE_INPUTS / 2 + PAIR * 2;

  /**
   * Roughly what one thread does in a nanosecond, to tell which operations are worth sharing: bytes
   * from memory, multiplications, inputs.
   */
  private static final long BYTES = 12;

  private static final long PRODUCTS = 300;
  private static final long STAGED_ELEMENTS = 4;

  private final CpuKernels kernels;
  private final CpuTeam team;

  /** More memory from the device. */
  private final LongFunction<MemorySegment> allocate;

  /** Grows with the largest product; what it had stays with the device. */
  private MemorySegment staged = MemorySegment.NULL;

  QuantizedProducts(CpuKernels kernels, CpuTeam team, LongFunction<MemorySegment> allocate) {
    this.kernels = kernels;
    this.team = team;
    this.allocate = allocate;
  }

  static boolean takes(WeightFormat format) {
    return format == WeightFormat.INT8 || format == WeightFormat.INT4;
  }

  /** Tiles of depth; each range is filled up to whole ones. */
  static int tiles(int[] borders) {
    int tiles = 0;
    for (int i = 1; i < borders.length; i++) {
      tiles += Math.ceilDiv(borders[i] - borders[i - 1], TILE_INPUTS);
    }
    return tiles;
  }

  /** Bytes of a packed weight with its scales. */
  static long packedBytes(int outputs, int tiles, WeightFormat format) {
    return format == WeightFormat.INT8
        ? scalesOffset(outputs, tiles) + pairs(outputs) * PAIR * Float.BYTES
        : pairs(outputs) * tiles * PAIR_BYTES_4;
  }

  /** Where the scales of a weight of eight bits begin. */
  static long scalesOffset(int outputs, int tiles) {
    return pairs(outputs) * tiles * PAIR_BYTES_8;
  }

  private static long pairs(int outputs) {
    return ((long) outputs + PAIR - 1) / PAIR;
  }

  /**
   * Quantizes {@code rows} rows of inputs for products with this weight and others of its format,
   * inputs and ranges.
   */
  void stage(long x, long stride, CpuLinearWeight weight, int rows) {
    int rowTiles = Math.ceilDiv(rows, TILE_ROWS);
    long bytes = stagedBytes(weight, rows);
    if (staged.byteSize() < bytes) {
      staged = allocate.apply(Math.max(bytes, 2 * staged.byteSize()));
    }
    kernels.quantizeInputs(
        team.address(),
        team.parts(rowTiles, (long) rows * weight.inputs() / STAGED_ELEMENTS),
        staged.address(),
        x,
        stride,
        weight.borders().address(),
        weight.ranges(),
        weight.format() == WeightFormat.INT4 ? 1 : 0,
        rows);
  }

  /** Bytes of {@code rows} rows of inputs, quantized for a weight. */
  static long stagedBytes(CpuLinearWeight weight, int rows) {
    long units = weight.format() == WeightFormat.INT8 ? weight.ranges() : weight.tiles();
    return (long) Math.ceilDiv(rows, TILE_ROWS)
        * Math.min(rows, TILE_ROWS)
        * (weight.tiles() * (long) TILE_INPUTS + units * (Float.BYTES + Integer.BYTES));
  }

  /** Multiplies what {@link #stage} has quantized last; {@code rows} as there. */
  void multiply(long out, long outStride, CpuLinearWeight weight, @Nullable Tensor bias, int rows) {
    int parts = team.parts(pairs(weight.outputs()), nanos(weight, rows));
    long biases = bias == null ? 0 : bias.address();
    long packed = CpuOps.open(weight.packed()).address();
    long borders = weight.borders().address();
    if (weight.format() == WeightFormat.INT8) {
      kernels.linearInt8(
          team.address(),
          parts,
          out,
          outStride,
          staged.address(),
          rows,
          packed,
          packed + scalesOffset(weight.outputs(), weight.tiles()),
          borders,
          weight.ranges(),
          weight.outputs(),
          biases);
    } else {
      kernels.linearInt4(
          team.address(),
          parts,
          out,
          outStride,
          staged.address(),
          rows,
          packed,
          borders,
          weight.ranges(),
          weight.outputs(),
          biases);
    }
  }

  private static long nanos(CpuLinearWeight weight, int rows) {
    long elements = (long) weight.outputs() * weight.inputs();
    return Math.max(
        weight.packed().byteSize() / BYTES, Math.multiplyExact(elements, rows) / PRODUCTS);
  }
}
