package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.baton.device.DType;
import dev.baton.device.RandomElements;
import dev.baton.device.Trial;
import dev.baton.device.cuda.EmulatedGpu.Grid;
import dev.baton.device.host.Bf16;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

/**
 * Weights on their way from a checkpoint on the emulated GPU, and the kernels that measure memory.
 */
final class WeightKernelTest {

  private static final DType[] DTYPES = {DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16};

  private static MemorySegment stored(EmulatedGpu gpu, float[] values, DType dtype) {
    MemorySegment from = Trial.stored(values, dtype);
    MemorySegment to = gpu.bytes(from.byteSize());
    to.copyFrom(from);
    return to;
  }

  private static float read(float value, DType dtype) {
    return switch (dtype) {
      case BFLOAT16 -> Bf16.toFloat(Bf16.fromFloat(value));
      case FLOAT16 -> Float.float16ToFloat(Float.floatToFloat16(value));
      default -> value;
    };
  }

  @Test
  void rowsArePackedFromEveryDtypeAndGatesInterleaved() {
    Trial trial = Trial.named("pack");
    for (int type = 0; type < 3; type++) {
      DType dtype = DTYPES[type];
      Packings packing = Packings.of(trial.between(20, 100), 8, 2, 2);
      int rows = trial.between(9, 15);
      int pitch = packing.inputs() + 5;
      float[] values = trial.normal((long) rows * pitch, 0.01);
      values[0] = 3e-7f;
      float[] dense = new float[rows * packing.inputs()];
      for (int i = 0; i < dense.length; i++) {
        float value = values[i / packing.inputs() * pitch + i % packing.inputs()];
        dense[i] = Bf16.toFloat(Bf16.fromFloat(read(value, dtype)));
      }
      float[] packed = packing.pack(dense);
      try (EmulatedGpu gpu = new EmulatedGpu()) {
        MemorySegment from = stored(gpu, values, dtype);
        MemorySegment plain = gpu.bytes(2L * rows * packing.pitch());
        gpu.launch(
            "pack_weight",
            new Grid(rows, 1, 1),
            128,
            0,
            plain,
            from,
            type,
            (long) pitch,
            rows,
            0,
            packing.struct(gpu));
        assertEquals(
            java.util.Arrays.toString(packed),
            java.util.Arrays.toString(EmulatedGpu.widened(plain)));

        MemorySegment gated = gpu.bytes(2L * 32 * packing.pitch());
        gpu.launch(
            "pack_weight",
            new Grid(16, 1, 1),
            128,
            0,
            gated,
            from,
            type,
            (long) pitch,
            rows,
            1,
            packing.struct(gpu));
        gpu.launch(
            "pack_weight",
            new Grid(16, 1, 1),
            128,
            0,
            gated,
            from,
            type,
            (long) pitch,
            rows,
            2,
            packing.struct(gpu));
        float[] actual = EmulatedGpu.widened(gated);
        for (int i = 0; i < actual.length; i++) {
          int row = i / packing.pitch() / 16 * 8 + i / packing.pitch() % 8;
          float right = row < rows ? packed[row * packing.pitch() + i % packing.pitch()] : 0f;
          assertEquals(right, actual[i], "element " + i);
        }
      }
    }
  }

  @Test
  void theFirstUnusableElementIsFoundAndOthersAreConverted() {
    Trial trial = Trial.named("convert");
    for (int type = 0; type < 3; type++) {
      int rows = 7;
      int columns = trial.between(2, 300);
      float[] values = trial.normal((long) rows * columns, 1);
      int at = trial.random.nextInt(values.length - 1);
      try (EmulatedGpu gpu = new EmulatedGpu()) {
        MemorySegment out = gpu.bytes(4L * values.length);
        MemorySegment from = stored(gpu, values, DTYPES[type]);
        gpu.launch(
            "convert_floats",
            new Grid((columns + 255) / 256, rows, 1),
            256,
            0,
            out,
            0,
            from,
            type,
            (long) columns,
            rows,
            columns);
        for (int i = 0; i < values.length; i++) {
          assertEquals(read(values[i], DTYPES[type]), EmulatedGpu.floatsOf(out)[i]);
        }
        values[at] = trial.oneOf(0, 1) == 0 ? Float.NaN : -0x1p127f;
        values[values.length - 1] = Float.NEGATIVE_INFINITY;
        MemorySegment first = gpu.bytes(8);
        gpu.launch(
            "find_unusable",
            new Grid(3, 1, 1),
            256,
            0,
            first,
            stored(gpu, values, DTYPES[type]),
            type,
            (long) columns,
            rows,
            columns);
        assertEquals(at, first.get(JAVA_LONG, 0));
        MemorySegment none = gpu.bytes(8);
        gpu.launch(
            "find_unusable",
            new Grid(3, 1, 1),
            256,
            0,
            none,
            from,
            type,
            (long) columns,
            rows,
            columns);
        assertEquals(-1L, none.get(JAVA_LONG, 0));
      }
    }
  }

  @Test
  void randomElementsOfAnyPartOfAMatrixAreTheHostsBitForBit() {
    Trial trial = Trial.named("random");
    for (DType dtype : new DType[] {DType.FLOAT32, DType.BFLOAT16}) {
      for (int round = 0; round < 4; round++) {
        int whole = trial.between(1, 700);
        int allRows = trial.between(1, 20);
        int from = trial.between(0, whole - 1);
        int columns = trial.between(1, whole - from);
        int rowFrom = trial.between(0, allRows - 1);
        int rows = trial.between(1, allRows - rowFrom);
        RandomElements elements = new RandomElements(dtype, whole, trial.random.nextLong());
        MemorySegment all = MemorySegment.ofArray(new byte[allRows * whole * dtype.bytes()]);
        elements.fill(all);
        try (EmulatedGpu gpu = new EmulatedGpu()) {
          MemorySegment made = gpu.bytes((long) rows * columns * dtype.bytes());
          gpu.launch(
              "random_elements",
              new Grid((columns + 255) / 256, Math.min(rows, 7), 1),
              256,
              0,
              made,
              dtype.bytes(),
              elements.seed(),
              elements.keep(),
              elements.base(),
              (long) rowFrom * whole + from,
              (long) whole,
              rows,
              columns);
          long rowBytes = (long) columns * dtype.bytes();
          for (int row = 0; row < rows; row++) {
            long at = ((rowFrom + row) * (long) whole + from) * dtype.bytes();
            assertEquals(
                -1,
                made.asSlice(row * rowBytes, rowBytes).mismatch(all.asSlice(at, rowBytes)),
                "row " + row);
          }
        }
      }
    }
  }

  @Test
  void copiesAreWholeAndWhatIsReadIsSeen() {
    int count = 4 * 16 * 1000 + 8;
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      MemorySegment random = gpu.bytes(2L * count);
      new RandomElements(DType.BFLOAT16, 64, 7).fill(random);
      MemorySegment copy = gpu.bytes(2L * count);
      gpu.launch("copy_bytes", new Grid(3, 1, 1), 512, 0, copy, random, (long) count / 8);
      assertEquals(-1, copy.mismatch(random));
      MemorySegment seen = gpu.bytes(3 * 16);
      gpu.launch("read_bytes", new Grid(3, 1, 1), 512, 512, seen, random, (long) count / 8);
      short[] expected = new short[8];
      for (int i = 0; i < count; i++) {
        expected[i % 8] ^= random.getAtIndex(JAVA_SHORT, i);
      }
      for (int i = 0; i < 8; i++) {
        int all = 0;
        for (int block = 0; block < 3; block++) {
          all ^= seen.getAtIndex(JAVA_SHORT, block * 8 + i);
        }
        assertEquals(expected[i], (short) all);
      }
    }
  }
}
