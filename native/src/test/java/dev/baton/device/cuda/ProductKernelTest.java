package dev.baton.device.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.baton.device.Trial;
import dev.baton.device.cuda.EmulatedGpu.Grid;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

/** Products on the emulated GPU: their values, and that their bits know nothing of their rows. */
final class ProductKernelTest {

  private static final int STORE = 0;
  private static final int ADD = 1;
  private static final int GATE = 2;

  /** How a product is launched; all give the same bits. */
  private enum Way {
    FEW_8(8),
    FEW_16(16),
    SPLIT(200),
    MANY(200);

    final int mostRows;

    Way(int mostRows) {
      this.mostRows = mostRows;
    }
  }

  /** Weights of one or more products of the same inputs, and the inputs. */
  private record Case(
      Packings packing, int[] outputs, int mode, float[][] weights, float[][] biases, float[] x) {}

  private static Case random(Trial trial, Packings packing, int mode, int rows, int... outputs) {
    float[][] weights = new float[outputs.length][];
    float[][] biases = new float[outputs.length][];
    for (int i = 0; i < outputs.length; i++) {
      int rowsOfWeight = mode == GATE ? (outputs[i] + 7) / 8 * 16 : outputs[i];
      weights[i] = trial.normal((long) rowsOfWeight * packing.inputs(), 0.3);
      biases[i] = trial.normal(outputs[i], 1);
    }
    float[] x = trial.normal((long) rows * packing.inputs(), 1);
    return new Case(packing, outputs, mode, weights, biases, x);
  }

  /** Outputs of all products in the order given, each [rows][outputs + 3]. */
  private static float[][] multiply(EmulatedGpu gpu, Case c, Way way, int rowFrom, int rows) {
    Packings p = c.packing();
    Object[] fields = new Object[4 * 9 + 2 + 6 + 2];
    java.util.Arrays.fill(fields, 0L);
    MemorySegment[] outs = new MemorySegment[c.outputs().length];
    int tiles = 0;
    for (int i = 0; i < 4; i++) {
      boolean real = i < c.outputs().length;
      int outputs = real ? c.outputs()[i] : 0;
      if (real) {
        float[] before = new float[rows * (outputs + 3)];
        java.util.Arrays.fill(before, 0.5f);
        outs[i] = gpu.floats(before);
        fields[i * 9] = gpu.bf16s(p.pack(c.weights()[i])).address();
        fields[i * 9 + 1] = gpu.floats(c.biases()[i]).address();
        fields[i * 9 + 3] = outs[i].address();
      }
      fields[i * 9 + 5] = outputs;
      fields[i * 9 + 6] = outputs + 3;
      fields[i * 9 + 7] = tiles;
      fields[i * 9 + 8] = c.mode();
      tiles += real ? (c.mode() == GATE ? (outputs + 7) / 8 : (outputs + 15) / 16) : 0;
    }
    fields[36] = c.outputs().length;
    fields[37] = tiles;
    for (int i = 38; i < 44; i++) {
      fields[i] = 0;
    }
    fields[44] = p.ranges();
    fields[45] = p.width();
    MemorySegment struct = gpu.struct(fields);
    assertEquals(264, struct.byteSize());
    byte[] products = EmulatedGpu.inner(struct);
    float[] own =
        java.util.Arrays.copyOfRange(c.x(), rowFrom * p.inputs(), (rowFrom + rows) * p.inputs());
    MemorySegment x = gpu.bf16s(p.pack(own));
    MemorySegment count = gpu.ints(rows);
    int high = (tiles + 7) / 8;
    switch (way) {
      case FEW_8 ->
          gpu.launch(
              "linear_few_8",
              new Grid(tiles, 1, 1),
              32 * p.ranges(),
              p.ranges() * 512,
              products,
              x,
              count);
      case FEW_16 ->
          gpu.launch(
              "linear_few_16",
              new Grid(tiles, 1, 1),
              32 * p.ranges(),
              p.ranges() * 1024,
              products,
              x,
              count);
      case MANY ->
          gpu.launch(
              "linear_many",
              new Grid((tiles + 15) / 16, (rows + 127) / 128 + 1, 1),
              256,
              98304,
              products,
              x,
              count);
      case SPLIT -> {
        int wide = (rows + 63) / 64;
        MemorySegment partials = gpu.bytes(4L * p.ranges() * tiles * 16 * wide * 64);
        gpu.launch(
            "linear_split",
            new Grid(high, wide, p.ranges()),
            256,
            49152,
            products,
            x,
            partials,
            count);
        gpu.launch("linear_join", new Grid(tiles, wide, 1), 256, 0, products, partials, count);
      }
    }
    float[][] results = new float[outs.length][];
    for (int i = 0; i < outs.length; i++) {
      results[i] = EmulatedGpu.floatsOf(outs[i]);
    }
    return results;
  }

  private static double exact(Case c, int product, int rowOfWeight, int row) {
    int inputs = c.packing().inputs();
    double sum = 0;
    float[] x =
        EmulatedGpu.rounded(java.util.Arrays.copyOfRange(c.x(), row * inputs, (row + 1) * inputs));
    float[] w =
        EmulatedGpu.rounded(
            java.util.Arrays.copyOfRange(
                c.weights()[product], rowOfWeight * inputs, (rowOfWeight + 1) * inputs));
    for (int k = 0; k < inputs; k++) {
      sum += (double) x[k] * w[k];
    }
    return sum;
  }

  private static double expected(Case c, int product, int output, int row) {
    double bias = c.biases()[product][output];
    return switch (c.mode()) {
      case GATE -> {
        double gate = exact(c, product, output / 8 * 16 + output % 8, row) + bias;
        yield gate
            / (1 + Math.exp(-gate))
            * exact(c, product, output / 8 * 16 + 8 + output % 8, row);
      }
      case ADD -> 0.5 + exact(c, product, output, row) + bias;
      default -> exact(c, product, output, row) + bias;
    };
  }

  private static void assertValues(Case c, float[][] results, int rowFrom, int rows) {
    for (int i = 0; i < results.length; i++) {
      int pitch = c.outputs()[i] + 3;
      for (int row = 0; row < rows; row++) {
        for (int output = 0; output < pitch; output++) {
          float actual = results[i][row * pitch + output];
          if (output >= c.outputs()[i]) {
            assertEquals(0.5f, actual, "beyond the outputs");
          } else {
            double right = expected(c, i, output, rowFrom + row);
            assertEquals(right, actual, 1e-4 * (1 + Math.abs(right)), "output " + output);
          }
        }
      }
    }
  }

  @Test
  void everyWayGivesTheSameBitsAndTheRightValuesForOddSizes() {
    Trial trial = Trial.named("products");
    for (int mode : new int[] {STORE, ADD, GATE}) {
      Packings packing =
          trial.random.nextBoolean()
              ? Packings.column(trial.between(33, 300))
              : Packings.of(trial.between(20, 500), 8, 4, 4);
      int rows = trial.between(17, 30);
      Case c = random(trial, packing, mode, rows, trial.between(1, 40), trial.between(1, 70));
      try (EmulatedGpu gpu = new EmulatedGpu()) {
        float[][] many = multiply(gpu, c, Way.MANY, 0, rows);
        assertValues(c, many, 0, rows);
        for (Way way : Way.values()) {
          int from = trial.between(0, 3);
          int count = Math.min(way.mostRows, rows - from);
          float[][] results = multiply(gpu, c, way, from, count);
          for (int i = 0; i < results.length; i++) {
            int pitch = c.outputs()[i] + 3;
            Trial.assertSameBits(
                bits(results[i]),
                bits(java.util.Arrays.copyOfRange(many[i], from * pitch, (from + count) * pitch)),
                way + " " + packing);
          }
        }
      }
    }
  }

  /** More than a band of tiles of rows, and more than one tile of weights. */
  @Test
  void everyRowAndOutputIsTakenOnceWhateverTheOrderOfBlocks() {
    Trial trial = Trial.named("many products");
    int rows = trial.between(8 * 128 + 1, 10 * 128);
    Case c = random(trial, Packings.column(33), ADD, rows, trial.between(200, 280), 40);
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      float[][] many = multiply(gpu, c, Way.MANY, 0, rows);
      assertValues(c, many, 0, rows);
      float[][] split = multiply(gpu, c, Way.SPLIT, 0, rows);
      for (int i = 0; i < many.length; i++) {
        Trial.assertSameBits(bits(split[i]), bits(many[i]), "product " + i);
      }
    }
  }

  private static int[] bits(float[] values) {
    int[] bits = new int[values.length];
    for (int i = 0; i < bits.length; i++) {
      bits[i] = Float.floatToRawIntBits(values[i]);
    }
    return bits;
  }

  @Test
  void ranksAddUpToTheBitsOfOne() {
    Trial trial = Trial.named("ranks");
    int whole = trial.between(100, 600);
    int outputs = trial.between(5, 40);
    int rows = 5;
    float[] weights = trial.normal((long) outputs * whole, 0.3);
    float[] x = trial.normal((long) rows * whole, 1);
    float[] expected = part(Packings.of(whole, 8, 0, 8), outputs, weights, x);
    for (int ranks : new int[] {2, 4, 8}) {
      float[][] sums = new float[ranks][];
      for (int rank = 0; rank < ranks; rank++) {
        sums[rank] = part(Packings.of(whole, 8, rank * 8 / ranks, 8 / ranks), outputs, weights, x);
      }
      for (int step = 1; step < ranks; step *= 2) {
        for (int i = 0; i < ranks; i += 2 * step) {
          for (int j = 0; j < sums[i].length; j++) {
            sums[i][j] += sums[i + step][j];
          }
        }
      }
      Trial.assertSameBits(bits(sums[0]), bits(expected), ranks + " ranks");
    }
  }

  /** The product of one rank's columns, without bias. */
  private static float[] part(Packings packing, int outputs, float[] weights, float[] x) {
    int whole = packing.whole();
    int from = (int) ((long) packing.first() * whole / packing.parts());
    Case c =
        new Case(
            packing,
            new int[] {outputs},
            STORE,
            new float[][] {columns(weights, whole, from, packing.inputs())},
            new float[][] {new float[outputs]},
            columns(x, whole, from, packing.inputs()));
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      float[][] few = multiply(gpu, c, Way.FEW_8, 0, x.length / whole);
      Trial.assertSameBits(
          bits(multiply(gpu, c, Way.MANY, 0, x.length / whole)[0]), bits(few[0]), packing);
      return columns(few[0], outputs + 3, 0, outputs);
    }
  }

  private static float[] columns(float[] rows, int pitch, int from, int count) {
    float[] result = new float[rows.length / pitch * count];
    for (int i = 0; i < rows.length / pitch; i++) {
      System.arraycopy(rows, i * pitch + from, result, i * count, count);
    }
    return result;
  }

  @Test
  void moreRowsThanOneTileAreMultiplied() {
    Trial trial = Trial.named("rows");
    Case c = random(trial, Packings.column(64), STORE, 150, 24);
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      float[][] many = multiply(gpu, c, Way.MANY, 0, 150);
      assertValues(c, many, 0, 150);
      Trial.assertSameBits(bits(multiply(gpu, c, Way.SPLIT, 0, 150)[0]), bits(many[0]), "split");
      assertTrue(many[0].length > 0);
    }
  }
}
