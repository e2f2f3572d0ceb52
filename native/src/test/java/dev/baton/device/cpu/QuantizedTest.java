package dev.baton.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.LinearWeight;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.Tensor;
import dev.baton.device.Trial;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.device.host.CanonicalRanges;
import dev.baton.device.reference.ReferenceDevice;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Products with quantized weights: every tier against the reference, and the reference against the
 * truth.
 */
class QuantizedTest {

  private static final String TIERS = "dev.baton.device.cpu.Tiers#running";
  private static final List<WeightFormat> FORMATS = List.of(WeightFormat.INT8, WeightFormat.INT4);

  static Stream<String> devices() {
    return Stream.concat(Tiers.running(), Stream.of("reference"));
  }

  private record Product(
      int rows,
      int inputs,
      int outputs,
      WeightFormat format,
      Parallelism parallelism,
      DType stored,
      float[] x,
      float[] w,
      float[] b) {

    static Product random(Trial trial, WeightFormat format, int rows, int inputs, int outputs) {
      DType[] checkpoint = {DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16};
      Parallelism[] parallelisms = Parallelism.values();
      return new Product(
          rows,
          inputs,
          outputs,
          format,
          parallelisms[trial.between(0, 1)],
          checkpoint[trial.between(0, 2)],
          trial.normal((long) rows * inputs, 1),
          trial.normal((long) inputs * outputs, 0.1),
          trial.random.nextBoolean() ? trial.normal(outputs, 1) : new float[0]);
    }

    WeightSlice weight() {
      return WeightSlice.whole(Trial.stored(w, stored), stored, outputs, inputs);
    }

    /** Result with two more rows and columns than needed, which must stay as they were. */
    int[] run(Device device, int from, int to) {
      Ops ops = device.openRanks(1).getFirst();
      LinearWeight packed = device.packLinear(weight(), format, parallelism);
      float[] part = Arrays.copyOfRange(x, from * inputs, to * inputs);
      Tensor in = Trial.tensor(device, to - from, inputs, part);
      Tensor bias = b.length == 0 ? null : Trial.tensor(device, 1, outputs, b);
      Tensor out = Trial.poisoned(device, to - from + 2, outputs + 2);
      ops.linear(out, in, packed, bias, to - from);
      return Trial.bits(out);
    }

    @Override
    public String toString() {
      return "rows %d, inputs %d, outputs %d, %s %s from %s, bias %s"
          .formatted(rows, inputs, outputs, format, parallelism, stored, b.length > 0);
    }
  }

  private static void assertSame(Device cpu, Device reference, Product product) {
    Trial.assertSameBits(
        product.run(cpu, 0, product.rows),
        product.run(reference, 0, product.rows),
        cpu.description() + ": " + product);
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void equalsTheReferenceForEveryNumberOfRows(String tier) {
    Trial trial = Trial.named("quantized rows, " + tier);
    try (Device cpu = Tiers.open(tier);
        Device reference = ReferenceDevice.open()) {
      for (WeightFormat format : FORMATS) {
        for (int rows = 1; rows <= 40; rows++) {
          int inputs = trial.between(1, 200);
          assertSame(
              cpu, reference, Product.random(trial, format, rows, inputs, trial.between(1, 150)));
        }
        assertSame(cpu, reference, Product.random(trial, format, trial.between(250, 300), 65, 140));
        assertSame(cpu, reference, Product.random(trial, format, 70, 2500, 40));
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void equalsTheReferenceForWidthsThatFitNoTile(String tier) {
    Trial trial = Trial.named("quantized widths, " + tier);
    try (Device cpu = Tiers.open(tier);
        Device reference = ReferenceDevice.open()) {
      for (WeightFormat format : FORMATS) {
        for (int inputs : new int[] {1, 5, 8, 63, 64, 65, 172, 512, 1000, 1100}) {
          for (int outputs : new int[] {1, 15, 16, 17, 31, 32, 33, 172}) {
            assertSame(
                cpu,
                reference,
                Product.random(trial, format, trial.oneOf(1, 2, 7, 17), inputs, outputs));
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void givesARowTheSameBitsInAnyBatch(String tier) {
    Trial trial = Trial.named("quantized batch, " + tier);
    try (Device cpu = Tiers.open(tier)) {
      for (WeightFormat format : FORMATS) {
        Product product = Product.random(trial, format, 100, 300, 200);
        int[] all = product.run(cpu, 0, 100);
        int width = product.outputs() + 2;
        for (int from = 0; from < 100; ) {
          int to = Math.min(100, from + trial.between(1, 20));
          int[] part = product.run(cpu, from, to);
          Trial.assertSameBits(
              Arrays.copyOf(part, (to - from) * width),
              Arrays.copyOfRange(all, from * width, to * width),
              "rows %d to %d of %s".formatted(from, to, product));
          from = to;
        }
      }
    }
  }

  /** Ranks in one thread: what each has computed is added as allReduce does. */
  @ParameterizedTest
  @MethodSource("devices")
  void shardsOfEveryNumberOfRanksGiveTheBitsOfOne(String isa) {
    Trial trial = Trial.named("quantized shards, " + isa);
    for (WeightFormat format : FORMATS) {
      for (int inputs : new int[] {8, 172, 1030}) {
        Product product = Product.random(trial, format, 3, inputs, 50);
        try (Device device = Tiers.open(isa)) {
          Ops ops = device.openRanks(1).getFirst();
          Tensor x = Trial.tensor(device, 3, inputs, product.x);
          Tensor whole = device.allocate(DType.FLOAT32, 3, 50);
          WeightSlice all = product.weight();
          ops.linear(whole, x, device.packLinear(all, format, Parallelism.ROW), null, 3);
          for (int ranks : new int[] {2, 4, 8}) {
            int[] expected = Trial.bits(whole);
            Trial.assertSameBits(
                treeOfShards(device, product, ranks), expected, product + ", ranks " + ranks);
          }
          Tensor columns = device.allocate(DType.FLOAT32, 3, 50);
          ops.linear(columns, x, device.packLinear(all, format, Parallelism.COLUMN), null, 3);
          Tensor half = device.allocate(DType.FLOAT32, 3, 25);
          WeightSlice slice =
              new WeightSlice(all.data(), all.dtype(), 50, inputs, 25, 50, 0, inputs);
          ops.linear(half, x, device.packLinear(slice, format, Parallelism.COLUMN), null, 3);
          for (int row = 0; row < 3; row++) {
            Trial.assertSameBits(
                Arrays.copyOfRange(Trial.bits(half), row * 25, row * 25 + 25),
                Arrays.copyOfRange(Trial.bits(columns), row * 50 + 25, row * 50 + 50),
                product + ", half of the outputs");
          }
        }
      }
    }
  }

  private static int[] treeOfShards(Device device, Product product, int ranks) {
    Ops ops = device.openRanks(1).getFirst();
    float[][] parts = new float[ranks][];
    WeightSlice all = product.weight();
    for (int rank = 0; rank < ranks; rank++) {
      int from = CanonicalRanges.border(8 / ranks * rank, product.inputs);
      int to = CanonicalRanges.border(8 / ranks * (rank + 1), product.inputs);
      float[] own = new float[3 * (to - from)];
      for (int row = 0; row < 3; row++) {
        System.arraycopy(product.x, row * product.inputs + from, own, row * (to - from), to - from);
      }
      WeightSlice slice =
          new WeightSlice(all.data(), all.dtype(), 50, product.inputs, 0, 50, from, to);
      Tensor out = device.allocate(DType.FLOAT32, 3, 50);
      LinearWeight packed = device.packLinear(slice, product.format, Parallelism.ROW);
      ops.linear(out, Trial.tensor(device, 3, to - from, own), packed, null, 3);
      parts[rank] = out.segment().toArray(java.lang.foreign.ValueLayout.JAVA_FLOAT);
    }
    for (int n = ranks / 2; n > 0; n /= 2) {
      for (int i = 0; i < n; i++) {
        for (int e = 0; e < parts[i].length; e++) {
          parts[i][e] = parts[2 * i][e] + parts[2 * i + 1][e];
        }
      }
    }
    int[] bits = new int[parts[0].length];
    for (int e = 0; e < bits.length; e++) {
      bits[e] = Float.floatToRawIntBits(parts[0][e]);
    }
    return bits;
  }

  /** Against float64 sums of the numbers as they were before both sides were quantized. */
  @ParameterizedTest
  @MethodSource("devices")
  void comesWithinTheErrorOfItsBits(String isa) {
    Trial trial = Trial.named("quantization error, " + isa);
    for (WeightFormat format : FORMATS) {
      Product product = Product.random(trial, format, 4, 1024, 100);
      try (Device device = Tiers.open(isa)) {
        int[] bits = product.run(device, 0, 4);
        double error = 0;
        double size = 0;
        for (int row = 0; row < 4; row++) {
          for (int o = 0; o < 100; o++) {
            double sum = product.b.length == 0 ? 0 : product.b[o];
            for (int k = 0; k < 1024; k++) {
              sum += (double) product.x[row * 1024 + k] * product.w[o * 1024 + k];
            }
            double difference = Float.intBitsToFloat(bits[row * 102 + o]) - sum;
            error += difference * difference;
            size += sum * sum;
          }
        }
        // Normal numbers: a step of eight bits is about 1/38 of their deviation, of four 1/3.
        assertThat(Math.sqrt(error / size))
            .as(product.toString())
            .isLessThan(format == WeightFormat.INT8 ? 0.02 : 0.14);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("devices")
  void inputsThatAreNoNumbersMakeTheirRowNoNumbersAndNoOther(String isa) {
    for (WeightFormat format : FORMATS) {
      for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
        Trial trial = Trial.named("bad inputs, " + isa);
        Product product = Product.random(trial, format, 3, 100, 40);
        product.x[100 + 63] = bad;
        try (Device device = Tiers.open(isa)) {
          int[] bits = product.run(device, 0, 3);
          for (int o = 0; o < 40; o++) {
            assertThat(Float.intBitsToFloat(bits[o])).isFinite();
            assertThat(Float.intBitsToFloat(bits[42 + o])).isNaN();
            assertThat(Float.intBitsToFloat(bits[84 + o])).isFinite();
          }
        }
      }
    }
  }

  /** Zero rows, rows of one huge number, rows so small that their scale has no reciprocal. */
  @ParameterizedTest
  @MethodSource(TIERS)
  void equalsTheReferenceAtTheEndsOfTheRange(String tier) {
    Trial trial = Trial.named("quantized extremes, " + tier);
    try (Device cpu = Tiers.open(tier);
        Device reference = ReferenceDevice.open()) {
      for (WeightFormat format : FORMATS) {
        for (float size : new float[] {0f, Float.MIN_VALUE, 0x1p-101f, 0x1p-99f, 1e-20f, 1e18f}) {
          Product random = Product.random(trial, format, 5, 150, 40);
          Product product =
              new Product(
                  5,
                  150,
                  40,
                  format,
                  random.parallelism,
                  DType.FLOAT32,
                  random.x,
                  random.w,
                  random.b);
          for (int k = 0; k < 150; k++) {
            product.x[k] *= size;
            product.w[k] *= size;
            product.w[150 + k] = 3f;
            product.w[300 + k] = k == 7 ? 1e4f : product.w[300 + k];
            product.x[300 + k] = k == 100 ? 1e18f : product.x[300 + k];
          }
          assertSame(cpu, reference, product);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("devices")
  void refusesSumsOfEightBitsThatMayNotFitAnInt(String isa) {
    int inputs = 133_145;
    try (Device device = Tiers.open(isa);
        Arena arena = Arena.ofConfined()) {
      WeightSlice slice = WeightSlice.whole(arena.allocate(2L * inputs), DType.BFLOAT16, 1, inputs);
      assertThatThrownBy(() -> device.packLinear(slice, WeightFormat.INT8, Parallelism.COLUMN))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("inputs: 133145 of one sum in INT8 (expected: at most 133144");
      assertThat(device.packLinear(slice, WeightFormat.INT8, Parallelism.ROW).inputs())
          .isEqualTo(inputs);
    }
  }
}
