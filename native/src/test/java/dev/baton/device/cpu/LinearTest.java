package dev.baton.device.cpu;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.LinearWeight;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.Tensor;
import dev.baton.device.Trial;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.device.reference.ReferenceDevice;
import java.util.Arrays;
import java.util.function.Supplier;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The product of every tier against the reference, bit for bit. */
class LinearTest {

  private static final String TIERS = "dev.baton.device.cpu.Tiers#running";

  /** A product's inputs, made once and then run on any device. */
  private record Product(
      int rows,
      int inputs,
      int outputs,
      DType dtype,
      DType stored,
      Parallelism parallelism,
      float[] x,
      float[] w,
      float[] b) {

    static Product random(Trial trial, int rows, int inputs, int outputs) {
      return random(trial, Parallelism.ROW, rows, inputs, outputs);
    }

    static Product random(Trial trial, Parallelism parallelism, int rows, int inputs, int outputs) {
      DType[] dtypes = {DType.FLOAT32, DType.BFLOAT16};
      DType[] checkpoint = {DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16};
      return new Product(
          rows,
          inputs,
          outputs,
          dtypes[trial.between(0, 1)],
          checkpoint[trial.between(0, 2)],
          parallelism,
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
      LinearWeight packed = device.packLinear(weight(), WeightFormat.of(dtype), parallelism);
      float[] part = Arrays.copyOfRange(x, from * inputs, to * inputs);
      Tensor in = Trial.tensor(device, to - from, inputs, part);
      Tensor bias = b.length == 0 ? null : Trial.tensor(device, 1, outputs, b);
      Tensor out = Trial.poisoned(device, to - from + 2, outputs + 2);
      ops.linear(out, in, packed, bias, to - from);
      return Trial.bits(out);
    }

    @Override
    public String toString() {
      return "rows %d, inputs %d, outputs %d, %s, %s from %s, bias %s"
          .formatted(rows, inputs, outputs, parallelism, dtype, stored, b.length > 0);
    }
  }

  private static void assertSame(String tier, Supplier<Product> products, int count) {
    for (int i = 0; i < count; i++) {
      Product product = products.get();
      try (Device cpu = Tiers.open(tier);
          Device reference = ReferenceDevice.open()) {
        Trial.assertSameBits(
            product.run(cpu, 0, product.rows),
            product.run(reference, 0, product.rows),
            tier + ": " + product);
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void equalsTheReferenceForEveryNumberOfRows(String tier) {
    Trial trial = Trial.named("rows, " + tier);
    for (int rows = 1; rows <= 33; rows++) {
      int n = rows;
      assertSame(
          tier, () -> Product.random(trial, n, trial.between(1, 90), trial.between(1, 150)), 2);
    }
    assertSame(tier, () -> Product.random(trial, trial.between(47, 150), 40, 70), 3);
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void equalsTheReferenceForWidthsThatFitNoVector(String tier) {
    Trial trial = Trial.named("widths, " + tier);
    for (int inputs : new int[] {1, 5, 8, 15, 16, 17, 64, 172, 257, 1000}) {
      for (int outputs : new int[] {1, 15, 16, 17, 33, 64, 172, 300}) {
        assertSame(tier, () -> Product.random(trial, trial.oneOf(1, 2, 7), inputs, outputs), 1);
      }
    }
  }

  /** Rows pass a float32 weight in panels of 128 to 512 inputs. */
  @ParameterizedTest
  @MethodSource(TIERS)
  void equalsTheReferenceForRangesOfManyInputs(String tier) {
    Trial trial = Trial.named("ranges, " + tier);
    for (int rows : new int[] {1, 2, 6, 7, 20, 50}) {
      for (int inputs : new int[] {512, 1024 + 3, 1600}) {
        assertSame(tier, () -> Product.random(trial, Parallelism.COLUMN, rows, inputs, 150), 2);
      }
      assertSame(tier, () -> Product.random(trial, Parallelism.ROW, rows, 8 * 530, 40), 2);
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void givesARowTheSameBitsInAnyBatch(String tier) {
    Trial trial = Trial.named("batch, " + tier);
    try (Device cpu = Tiers.open(tier)) {
      Product product = Product.random(trial, 100, 172, 200);
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
