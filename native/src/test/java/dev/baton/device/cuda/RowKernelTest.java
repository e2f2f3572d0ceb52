package dev.baton.device.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.baton.device.Trial;
import dev.baton.device.cuda.EmulatedGpu.Grid;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/**
 * Operations on rows on the emulated GPU, with odd widths, gaps between rows and rows left alone.
 */
final class RowKernelTest {

  private static final int GAP = 3;

  /** Rows with a gap behind each, full of poison. */
  private static float[] spaced(float[] rows, int width) {
    float[] result = new float[rows.length / width * (width + GAP)];
    Arrays.fill(result, Trial.POISON);
    for (int i = 0; i < rows.length / width; i++) {
      System.arraycopy(rows, i * width, result, i * (width + GAP), width);
    }
    return result;
  }

  private static int[] bits(float[] values) {
    int[] bits = new int[values.length];
    for (int i = 0; i < bits.length; i++) {
      bits[i] = Float.floatToRawIntBits(values[i]);
    }
    return bits;
  }

  @Test
  void embeddingsAreCopiedFromPlainAndFromPackedTables() {
    Trial trial = Trial.named("embed");
    int width = trial.between(9, 200);
    float[] table = EmulatedGpu.rounded(trial.normal(11L * width, 1));
    int[] tokens = {10, 0, 4, 7};
    float[] rows = new float[5 * width];
    Arrays.fill(rows, Trial.POISON);
    for (int i = 0; i < tokens.length; i++) {
      System.arraycopy(table, tokens[i] * width, rows, i * width, width);
    }
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      MemorySegment ids = gpu.ints(tokens);
      MemorySegment count = gpu.ints(tokens.length);
      MemorySegment out = poisoned(gpu, 5, width);
      gpu.launch(
          "embed_float",
          new Grid(5, 1, 1),
          128,
          0,
          out,
          width + GAP,
          gpu.floats(table),
          ids,
          count,
          width);
      Trial.assertSameBits(EmulatedGpu.bitsOf(out), bits(spaced(rows, width)), "float");

      Packings packing = Packings.column(width);
      MemorySegment first = gpu.bf16s(packing.pack(Arrays.copyOf(table, 6 * width)));
      MemorySegment second =
          gpu.bf16s(packing.pack(Arrays.copyOfRange(table, 6 * width, 11 * width)));
      byte[] shards =
          EmulatedGpu.inner(
              gpu.struct(
                  first.address(),
                  second.address(),
                  0L,
                  0L,
                  0L,
                  0L,
                  0L,
                  0L,
                  6,
                  5,
                  0,
                  0,
                  0,
                  0,
                  0,
                  0));
      assertEquals(96, shards.length);
      MemorySegment packed = poisoned(gpu, 5, width);
      gpu.launch(
          "embed_bf16",
          new Grid(5, 1, 1),
          128,
          0,
          packed,
          width + GAP,
          shards,
          ids,
          count,
          packing.struct(gpu));
      Trial.assertSameBits(EmulatedGpu.bitsOf(packed), bits(spaced(rows, width)), "packed");
    }
  }

  private static MemorySegment poisoned(EmulatedGpu gpu, int rows, int width) {
    float[] values = new float[rows * (width + GAP)];
    Arrays.fill(values, Trial.POISON);
    return gpu.floats(values);
  }

  @Test
  void normsAreThoseOfTheirGroupsAndTheInputsOfProductsAreTheirRoundedValues() {
    Trial trial = Trial.named("norm");
    for (int group : new int[] {trial.between(2, 40), trial.between(257, 600)}) {
      int groups = trial.between(1, 3);
      int width = group * groups;
      int rows = 3;
      float[] x = trial.normal((long) rows * width, 2);
      float[] weight = trial.normal(group, 1);
      int threads = group <= 256 ? 32 : 256;
      try (EmulatedGpu gpu = new EmulatedGpu()) {
        MemorySegment in = gpu.floats(spaced(x, width));
        MemorySegment weights = gpu.floats(weight);
        MemorySegment count = gpu.ints(rows);
        MemorySegment out = poisoned(gpu, rows, width);
        gpu.launch(
            "rms_norm",
            new Grid(rows + 1, groups, 1),
            threads,
            128,
            out,
            width + GAP,
            in,
            width + GAP,
            weights,
            1e-5f,
            count,
            group);
        float[] actual = EmulatedGpu.floatsOf(out);
        for (int row = 0; row < rows; row++) {
          for (int from = 0; from < width; from += group) {
            double sum = 0;
            for (int c = 0; c < group; c++) {
              sum += (double) x[row * width + from + c] * x[row * width + from + c];
            }
            for (int c = 0; c < group; c++) {
              double right = x[row * width + from + c] / Math.sqrt(sum / group + 1e-5) * weight[c];
              assertEquals(
                  right, actual[row * (width + GAP) + from + c], 1e-5 * (1 + Math.abs(right)));
            }
          }
        }
        if (groups == 1) {
          Packings packing = Packings.of(width, 8, 0, 8);
          MemorySegment rounded = gpu.bytes(2L * rows * packing.pitch());
          gpu.launch(
              "prepare",
              new Grid(rows + 1, 1, 1),
              threads,
              128,
              rounded,
              in,
              width + GAP,
              weights,
              1e-5f,
              count,
              packing.struct(gpu));
          float[] dense = new float[rows * width];
          for (int row = 0; row < rows; row++) {
            System.arraycopy(actual, row * (width + GAP), dense, row * width, width);
          }
          Trial.assertSameBits(
              bits(EmulatedGpu.widened(rounded)),
              bits(packing.pack(EmulatedGpu.rounded(dense))),
              "prepared");
        }
      }
    }
  }

  @Test
  void rowsAreAddedGatedAndGathered() {
    Trial trial = Trial.named("rows");
    int width = trial.between(1, 600);
    int rows = 3;
    float[] x = trial.normal((long) rows * width, 3);
    float[] y = trial.normal((long) rows * width, 3);
    Grid grid = new Grid((width + 255) / 256, rows, 1);
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      MemorySegment count = gpu.ints(2);
      MemorySegment sum = gpu.floats(spaced(x, width));
      MemorySegment other = gpu.floats(spaced(y, width));
      gpu.launch("add", grid, 256, 0, sum, width + GAP, other, width + GAP, count, width);
      float[] expected = x.clone();
      for (int i = 0; i < 2 * width; i++) {
        expected[i] += y[i];
      }
      Trial.assertSameBits(EmulatedGpu.bitsOf(sum), bits(spaced(expected, width)), "add");
      gpu.launch("add", grid, 256, 0, sum, width + GAP, other, 0, count, width);
      for (int i = 0; i < 2 * width; i++) {
        expected[i] += y[i % width];
      }
      Trial.assertSameBits(EmulatedGpu.bitsOf(sum), bits(spaced(expected, width)), "add a row");

      MemorySegment gate = gpu.floats(spaced(x, width));
      gpu.launch(
          "silu_multiply",
          grid,
          256,
          0,
          gate,
          width + GAP,
          gate,
          width + GAP,
          other,
          width + GAP,
          count,
          width);
      float[] gated = EmulatedGpu.floatsOf(gate);
      for (int i = 0; i < 2 * width; i++) {
        double right = x[i] / (1 + Math.exp(-x[i])) * y[i];
        assertEquals(
            right, gated[i / width * (width + GAP) + i % width], 1e-5 * (1 + Math.abs(right)));
      }

      MemorySegment out = poisoned(gpu, rows, width);
      gpu.launch(
          "gather_rows",
          new Grid((width + 255) / 256, 1, 1),
          256,
          0,
          out,
          width + GAP,
          other,
          width + GAP,
          gpu.ints(2, 0),
          count,
          width);
      float[] gathered = new float[rows * width];
      Arrays.fill(gathered, Trial.POISON);
      System.arraycopy(y, 2 * width, gathered, 0, width);
      System.arraycopy(y, 0, gathered, width, width);
      Trial.assertSameBits(EmulatedGpu.bitsOf(out), bits(spaced(gathered, width)), "gather");
    }
  }
}
