package dev.baton.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.LinearWeight;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.Tensor;
import dev.baton.device.Trial;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.device.host.Bf16;
import dev.baton.device.host.CanonicalRanges;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Products with bfloat16 weights of every tier, and of the reference, against what the processor's
 * manual says of the matrix units' tdpbf16ps, bit for bit.
 */
class AmxTest {

  private static final String TIERS = "dev.baton.device.cpu.Tiers#runningAndReference";

  private static final int DEPTH = 32;

  private record Product(int rows, int inputs, int outputs, float[] x, float[] w, float[] b) {

    static Product random(Trial trial, int rows, int inputs, int outputs) {
      return new Product(
          rows,
          inputs,
          outputs,
          trial.normal((long) rows * inputs, 1),
          trial.normal((long) inputs * outputs, 0.1),
          trial.random.nextBoolean() ? trial.normal(outputs, 1) : new float[0]);
    }

    int[] run(Device device, int from, int to) {
      return run(device, Parallelism.ROW, from, to);
    }

    int[] run(Device device, Parallelism parallelism, int from, int to) {
      Ops ops = device.openRanks(1).getFirst();
      WeightSlice slice =
          WeightSlice.whole(Trial.stored(w, DType.FLOAT32), DType.FLOAT32, outputs, inputs);
      LinearWeight packed = device.packLinear(slice, WeightFormat.BFLOAT16, parallelism);
      float[] part = Arrays.copyOfRange(x, from * inputs, to * inputs);
      Tensor in = Trial.tensor(device, to - from, inputs, part);
      Tensor bias = b.length == 0 ? null : Trial.tensor(device, 1, outputs, b);
      Tensor out = Trial.poisoned(device, to - from + 2, outputs + 2);
      ops.linear(out, in, packed, bias, to - from);
      return Trial.bits(out);
    }

    /** The bits of {@link #run} over all rows as they must be. */
    int[] expected() {
      return expected(LinearWeight.PARTIALS);
    }

    int[] expected(int ranges) {
      int[] bits = new int[(rows + 2) * (outputs + 2)];
      Arrays.fill(bits, Float.floatToRawIntBits(Trial.POISON));
      for (int row = 0; row < rows; row++) {
        for (int o = 0; o < outputs; o++) {
          float[] sums = new float[ranges];
          for (int i = 0; i < ranges; i++) {
            int first = i * LinearWeight.PARTIALS / ranges;
            int end = (i + 1) * LinearWeight.PARTIALS / ranges;
            int from = CanonicalRanges.border(first, inputs);
            int to = CanonicalRanges.border(end, inputs);
            sums[i] = range(row * inputs, o * inputs, from, to);
          }
          for (int n = sums.length / 2; n > 0; n /= 2) {
            for (int i = 0; i < n; i++) {
              sums[i] = sums[2 * i] + sums[2 * i + 1];
            }
          }
          float result = b.length == 0 ? sums[0] : sums[0] + b[o];
          bits[row * (outputs + 2) + o] = Float.floatToRawIntBits(result);
        }
      }
      return bits;
    }

    private float range(int row, int output, int from, int to) {
      float sum = 0;
      for (int k = from; k < to; k += DEPTH) {
        float[] evenOdd = new float[2];
        for (int i = 0; i < DEPTH; i++) {
          float a = k + i < to ? rounded(x[row + k + i]) : 0f;
          float c = k + i < to ? rounded(w[output + k + i]) : 0f;
          evenOdd[i % 2] = flushed(Math.fma(a, c, evenOdd[i % 2]));
        }
        sum = flushed(sum + flushed(evenOdd[0] + evenOdd[1]));
      }
      return sum;
    }

    private static float rounded(float value) {
      return flushed(Bf16.toFloat(Bf16.fromFloat(value)));
    }

    private static float flushed(float value) {
      return Math.abs(value) < Float.MIN_NORMAL ? Math.copySign(0f, value) : value;
    }

    @Override
    public String toString() {
      return "rows %d, inputs %d, outputs %d, bias %s".formatted(rows, inputs, outputs, b.length);
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void computesWhatTheManualSays(String tier) {
    Trial trial = Trial.named("manual, " + tier);
    int[] widths = {1, 7, 8, 33, 64, 172, 257, 512, 2100};
    for (int i = 0; i < 60; i++) {
      Product product =
          Product.random(
              trial,
              i % 4 == 0 ? 1 : trial.between(1, i % 4 == 1 ? 300 : 40),
              i < widths.length ? widths[i] : trial.between(1, 700),
              trial.between(1, i % 5 == 0 ? 400 : 70));
      try (Device device = Tiers.open(tier)) {
        Trial.assertSameBits(
            product.run(device, 0, product.rows), product.expected(), tier + ": " + product);
      }
    }
  }

  /** The matrix units take so many inputs in two goes, and so many outputs in groups. */
  @Test
  void oneRangeMayBeOfAnyLength() {
    Trial trial = Trial.named("one range");
    Product product = Product.random(trial, trial.between(33, 40), 2100, trial.between(1030, 1060));
    int[] expected = product.expected(1);
    Tiers.runningAndReference()
        .forEach(
            tier -> {
              try (Device device = Tiers.open(tier)) {
                int[] bits = product.run(device, Parallelism.COLUMN, 0, product.rows);
                Trial.assertSameBits(bits, expected, tier + ": " + product);
              }
            });
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void denormalsCountAsZero(String tier) {
    float[] x = {Float.MIN_NORMAL / 4, 1f, Float.MIN_NORMAL, 0f, 0f, 0f, 0f, 0f};
    float[] w = {1e30f, Float.MIN_NORMAL / 8, 0.5f, 0f, 0f, 0f, 0f, 0f};
    for (int rows = 1; rows <= 3; rows++) {
      float[] all = new float[rows * x.length];
      for (int i = 0; i < all.length; i++) {
        all[i] = x[i % x.length];
      }
      Product product = new Product(rows, 8, 1, all, w, new float[0]);
      try (Device device = Tiers.open(tier)) {
        Trial.assertSameBits(product.run(device, 0, rows), product.expected(), tier);
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void givesARowTheSameBitsInAnyBatch(String tier) {
    Trial trial = Trial.named("batch, " + tier);
    try (Device device = Tiers.open(tier)) {
      Product product = Product.random(trial, 330, 700, 200);
      int[] all = product.run(device, 0, product.rows);
      int width = product.outputs + 2;
      for (int from = 0; from < product.rows; ) {
        int to = Math.min(product.rows, from + trial.oneOf(1, 2, 15, 16, 17, 33, 70));
        Trial.assertSameBits(
            Arrays.copyOf(product.run(device, from, to), (to - from) * width),
            Arrays.copyOfRange(all, from * width, to * width),
            "rows %d to %d of %s".formatted(from, to, product));
        from = to;
      }
    }
  }

  @Test
  void allTiersSayThatTheyComputeAlike() {
    for (String tier : Tiers.runningAndReference().toList()) {
      try (Device device = Tiers.open(tier);
          Device reference = Tiers.open("reference")) {
        for (WeightFormat format : WeightFormat.values()) {
          assertThat(device.numerics(format)).isEqualTo(reference.numerics(format));
        }
      }
    }
  }
}
