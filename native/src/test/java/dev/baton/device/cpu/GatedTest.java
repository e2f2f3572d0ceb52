package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.GatedWeight;
import dev.baton.device.LinearWeight;
import dev.baton.device.Norm;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.Projection;
import dev.baton.device.Tensor;
import dev.baton.device.Trial;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Products that do more than one thing at once, against the same things one after the other. */
class GatedTest {

  private static final String TIERS = "dev.baton.device.cpu.Tiers#runningAndReference";

  private static final WeightFormat[] FORMATS = WeightFormat.values();

  /** One device, one shape of inputs. */
  private record Bench(Device device, Ops ops, Trial trial, int rows, int inputs, Tensor x) {

    static Bench random(Device device, Trial trial) {
      int rows = trial.oneOf(1, 2, 5, 17, 40, 70);
      int inputs = trial.between(1, 300);
      Tensor x = Trial.tensor(device, rows, inputs, trial.normal((long) rows * inputs, 1));
      return new Bench(device, device.openRanks(1).getFirst(), trial, rows, inputs, x);
    }

    WeightSlice weight(int outputs) {
      float[] values = trial.normal((long) outputs * inputs, 0.1);
      return WeightSlice.whole(Trial.stored(values, DType.FLOAT32), DType.FLOAT32, outputs, inputs);
    }

    @Nullable Norm norm() {
      return trial.random.nextBoolean()
          ? null
          : new Norm(Trial.tensor(device, 1, inputs, trial.normal(inputs, 1)), 1e-5f);
    }

    @Nullable Tensor bias(int outputs) {
      return trial.random.nextBoolean()
          ? null
          : Trial.tensor(device, 1, outputs, trial.normal(outputs, 1));
    }

    Tensor normed(@Nullable Norm norm) {
      if (norm == null) {
        return x;
      }
      Tensor to = device.allocate(DType.FLOAT32, rows, inputs);
      ops.rmsNorm(to, x, norm.weight(), norm.epsilon(), rows, inputs);
      return to;
    }

    /** Of the inputs. */
    Tensor copy() {
      return Trial.tensor(device, rows, inputs, x.segment().toArray(JAVA_FLOAT));
    }

    Tensor scratch() {
      return Trial.poisoned(device, rows, inputs);
    }

    String shape() {
      return "rows %d, inputs %d".formatted(rows, inputs);
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void aGatedProductIsTwoProductsAndAGate(String tier) {
    Trial trial = Trial.named("gated, " + tier);
    for (int i = 0; i < 30; i++) {
      try (Device device = Tiers.open(tier)) {
        Bench bench = Bench.random(device, trial);
        WeightFormat format = FORMATS[i % FORMATS.length];
        int outputs = trial.between(1, 150);
        WeightSlice gate = bench.weight(outputs);
        WeightSlice up = bench.weight(outputs);
        GatedWeight both = device.packGated(gate, up, format);
        Norm norm = bench.norm();
        Tensor actual = Trial.poisoned(device, bench.rows + 2, outputs + 2);
        Tensor gateBias = bench.bias(outputs);
        Tensor upBias = bench.bias(outputs);
        bench.ops.gated(actual, bench.x, norm, both, gateBias, upBias, bench.rows);

        Tensor expected = Trial.poisoned(device, bench.rows + 2, outputs + 2);
        Tensor other = Trial.poisoned(device, bench.rows, outputs);
        Tensor normed = bench.normed(norm);
        LinearWeight gateAlone = device.packLinear(gate, format, Parallelism.COLUMN);
        LinearWeight upAlone = device.packLinear(up, format, Parallelism.COLUMN);
        bench.ops.linear(expected, normed, gateAlone, gateBias, bench.rows);
        bench.ops.linear(other, normed, upAlone, upBias, bench.rows);
        bench.ops.siluMultiply(expected, expected, other, bench.rows, outputs);
        Trial.assertSameBits(
            Trial.bits(actual), Trial.bits(expected), tier + " " + format + " " + bench.shape());
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void severalProductsAtOnceAreTheSameOneByOne(String tier) {
    Trial trial = Trial.named("several, " + tier);
    for (int i = 0; i < 30; i++) {
      try (Device device = Tiers.open(tier)) {
        Bench bench = Bench.random(device, trial);
        Parallelism parallelism = Parallelism.values()[trial.between(0, 1)];
        List<Projection> products = new ArrayList<>();
        for (int n = trial.between(1, 10); n > 0; n--) {
          int outputs = trial.between(1, 150);
          products.add(
              new Projection(
                  Trial.poisoned(device, bench.rows + 2, outputs + 2),
                  device.packLinear(
                      bench.weight(outputs), FORMATS[i % FORMATS.length], parallelism),
                  trial.random.nextBoolean()
                      ? null
                      : Trial.tensor(device, 1, outputs, trial.normal(outputs, 1))));
        }
        Norm norm = bench.norm();
        bench.ops.linear(products, bench.x, norm, bench.rows);
        Tensor normed = bench.normed(norm);
        for (Projection each : products) {
          int width = each.weight().outputs() + 2;
          Tensor expected = Trial.poisoned(device, bench.rows + 2, width);
          bench.ops.linear(expected, normed, each.weight(), each.bias(), bench.rows);
          Trial.assertSameBits(
              Trial.bits(each.out()), Trial.bits(expected), tier + ": " + bench.shape());
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void aProductAddedToTheStreamIsAProductAndAnAddition(String tier) {
    Trial trial = Trial.named("added, " + tier);
    for (int i = 0; i < 20; i++) {
      try (Device device = Tiers.open(tier)) {
        Bench bench = Bench.random(device, trial);
        int outputs = trial.between(1, 150);
        LinearWeight weight =
            device.packLinear(bench.weight(outputs), FORMATS[i % FORMATS.length], Parallelism.ROW);
        float[] before = trial.normal((long) bench.rows * outputs, 1);
        Tensor stream = Trial.tensor(device, bench.rows, outputs, before);
        Tensor scratch = Trial.poisoned(device, bench.rows, outputs);
        Tensor bias = bench.bias(outputs);
        bench.ops.addLinear(stream, bench.x, weight, bias, scratch, bench.rows);

        Tensor expected = Trial.tensor(device, bench.rows, outputs, before);
        Tensor delta = Trial.poisoned(device, bench.rows, outputs);
        bench.ops.linear(delta, bench.x, weight, bias, bench.rows);
        bench.ops.add(expected, delta, bench.rows, outputs);
        Trial.assertSameBits(Trial.bits(stream), Trial.bits(expected), tier + ": " + bench.shape());
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void aFeedForwardBlockIsAGatedProductAndAnAddedOne(String tier) {
    Trial trial = Trial.named("feed forward, " + tier);
    for (int i = 0; i < 8; i++) {
      try (Device device = Tiers.open(tier)) {
        Bench bench = Bench.random(device, trial);
        WeightFormat format = i % 2 == 0 ? FORMATS[i / 2] : WeightFormat.BFLOAT16;
        // Ranges of one tile, of a few, of more than are staged together, and no whole tiles.
        int inner = trial.oneOf(256, 768, 17 * 256, 150);
        GatedWeight gate = device.packGated(bench.weight(inner), bench.weight(inner), format);
        float[] values = trial.normal((long) inner * bench.inputs, 0.1);
        WeightSlice down =
            WeightSlice.whole(
                Trial.stored(values, DType.FLOAT32), DType.FLOAT32, bench.inputs, inner);
        LinearWeight packed = device.packLinear(down, format, Parallelism.ROW);
        Norm norm = bench.norm();
        Tensor gateBias = bench.bias(inner);
        Tensor upBias = bench.bias(inner);
        Tensor bias = bench.bias(bench.inputs);

        Tensor between = Trial.poisoned(device, bench.rows, inner);
        Tensor expected = bench.copy();
        bench.ops.gated(between, bench.x, norm, gate, gateBias, upBias, bench.rows);
        bench.ops.addLinear(expected, between, packed, bias, bench.scratch(), bench.rows);

        Tensor inside = Trial.poisoned(device, bench.rows, inner);
        Tensor stream = bench.copy();
        bench.ops.feedForward(
            stream,
            stream,
            norm,
            gate,
            gateBias,
            upBias,
            inside,
            packed,
            bias,
            bench.scratch(),
            bench.rows);
        Trial.assertSameBits(
            Trial.bits(stream),
            Trial.bits(expected),
            tier + " " + format + " " + bench.shape() + ", inner " + inner);
      }
    }
  }
}
