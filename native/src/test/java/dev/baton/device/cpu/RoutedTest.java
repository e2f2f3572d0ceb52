package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.GatedWeight;
import dev.baton.device.LinearWeight;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.Routing;
import dev.baton.device.Tensor;
import dev.baton.device.Trial;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.device.reference.ReferenceDevice;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The ops of a mixture of experts: route, gather, multiply, combine. */
class RoutedTest {

  /** Shape and values of one random mixture. */
  private record Mixture(
      int rows,
      int experts,
      int chosen,
      int inputs,
      int outputs,
      boolean normalize,
      float[] scores,
      float[] x,
      float[][] weights) {

    static Mixture random(Trial trial) {
      int rows = trial.between(1, 40);
      int experts = trial.between(1, 20);
      int inputs = trial.between(8, 60);
      int outputs = trial.between(1, 70);
      float[][] weights = new float[experts][];
      for (int e = 0; e < experts; e++) {
        weights[e] = trial.normal((long) outputs * inputs, 1);
      }
      return new Mixture(
          rows,
          experts,
          trial.between(1, experts),
          inputs,
          outputs,
          trial.random.nextBoolean(),
          trial.normal((long) rows * experts, 2),
          trial.normal((long) rows * inputs, 1),
          weights);
    }

    Tensor run(Device device, DType dtype) {
      Ops ops = device.openRanks(1).getFirst();
      Routing routing = device.allocateRouting(rows, experts, chosen);
      List<LinearWeight> packed = new ArrayList<>();
      for (float[] each : weights) {
        MemorySegment stored = MemorySegment.ofArray(each);
        packed.add(
            device.packLinear(
                WeightSlice.whole(stored, DType.FLOAT32, outputs, inputs),
                WeightFormat.of(dtype),
                Parallelism.ROW));
      }
      Tensor gathered = Trial.poisoned(device, rows * chosen, inputs + 1);
      Tensor products = Trial.poisoned(device, rows * chosen, outputs + 3);
      Tensor out = Trial.poisoned(device, rows + 1, outputs + 2);
      ops.route(routing, Trial.tensor(device, rows, experts, scores), rows, normalize);
      ops.gatherRouted(gathered, Trial.tensor(device, rows, inputs, x), routing, inputs);
      ops.linearRouted(products, gathered, packed, routing);
      ops.combineRouted(out, products, routing, outputs);
      return out;
    }

    /** Row by row and in float64, from the definition. */
    double expected(int row, int output) {
      float[] own = Arrays.copyOfRange(scores, row * experts, (row + 1) * experts);
      List<Integer> order =
          IntStream.range(0, experts)
              .boxed()
              .sorted(Comparator.<Integer>comparingDouble(e -> -own[e]).thenComparingInt(e -> e))
              .toList();
      double total = 0;
      for (int i = 0; i < (normalize ? chosen : experts); i++) {
        total += Math.exp(own[order.get(i)]);
      }
      double sum = 0;
      for (int expert : order.subList(0, chosen)) {
        double product = 0;
        for (int k = 0; k < inputs; k++) {
          product += (double) x[row * inputs + k] * weights[expert][output * inputs + k];
        }
        sum += Math.exp(own[expert]) / total * product;
      }
      return sum;
    }
  }

  @Test
  void aMixtureIsTheWeightedSumOfItsBestExperts() {
    Trial trial = Trial.named("mixture against float64");
    for (int i = 0; i < 30; i++) {
      Mixture mixture = Mixture.random(trial);
      try (Device device = ReferenceDevice.open()) {
        Tensor out = mixture.run(device, DType.FLOAT32);
        for (int row = 0; row < mixture.rows; row++) {
          for (int o = 0; o < mixture.outputs; o++) {
            assertThat((double) out.segment().getAtIndex(JAVA_FLOAT, row * out.columns() + o))
                .as("row %d, output %d of %s", row, o, mixture)
                .isCloseTo(mixture.expected(row, o), within(1e-3));
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("dev.baton.device.cpu.Tiers#running")
  void aMixtureEqualsTheReference(String tier) {
    Trial trial = Trial.named("mixture, " + tier);
    for (int i = 0; i < 30; i++) {
      Mixture mixture = Mixture.random(trial);
      DType dtype = i % 2 == 0 ? DType.FLOAT32 : DType.BFLOAT16;
      try (Device cpu = Tiers.open(tier);
          Device reference = ReferenceDevice.open()) {
        Trial.assertSameBits(
            Trial.bits(mixture.run(cpu, dtype)),
            Trial.bits(mixture.run(reference, dtype)),
            tier + ": " + mixture);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("dev.baton.device.cpu.Tiers#running")
  void expertsWithGatesEqualTheReferenceInEveryFormat(String tier) {
    Trial trial = Trial.named("gated mixture, " + tier);
    for (int i = 0; i < 24; i++) {
      WeightFormat format = WeightFormat.values()[i % WeightFormat.values().length];
      int rows = i < 8 ? 1 : trial.between(1, 90);
      int experts = trial.between(1, 9);
      int chosen = trial.between(1, experts);
      int hidden = trial.between(8, 150);
      int inner = trial.between(8, 150);
      float[] scores = trial.normal((long) rows * experts, 2);
      float[] x = trial.normal((long) rows * hidden, 1);
      float[] weights = trial.normal(3L * experts * hidden * inner, 1);
      try (Device cpu = Tiers.open(tier);
          Device reference = ReferenceDevice.open()) {
        int[][] bits = new int[2][];
        for (Device device : List.of(cpu, reference)) {
          Ops ops = device.openRanks(1).getFirst();
          Routing routing = device.allocateRouting(rows, experts, chosen);
          List<GatedWeight> gates = new ArrayList<>();
          List<LinearWeight> downs = new ArrayList<>();
          for (int e = 0; e < experts; e++) {
            gates.add(
                device.packGated(
                    slice(weights, 3 * e, inner, hidden),
                    slice(weights, 3 * e + 1, inner, hidden),
                    format));
            downs.add(
                device.packLinear(
                    slice(weights, 3 * e + 2, hidden, inner), format, Parallelism.ROW));
          }
          Tensor slots = Trial.poisoned(device, rows * chosen, hidden + 1);
          Tensor gated = Trial.poisoned(device, rows * chosen, inner + 2);
          Tensor out = Trial.poisoned(device, rows * chosen + 1, hidden + 3);
          ops.route(routing, Trial.tensor(device, rows, experts, scores), rows, true);
          ops.gatherRouted(slots, Trial.tensor(device, rows, hidden, x), routing, hidden);
          ops.gatedRouted(gated, slots, gates, routing);
          ops.linearRouted(out, gated, downs, routing);
          bits[device == cpu ? 0 : 1] = Trial.bits(out);
        }
        Trial.assertSameBits(
            bits[0],
            bits[1],
            "%s, %s, %d rows, %d of %d experts, [%d, %d]"
                .formatted(tier, format, rows, chosen, experts, inner, hidden));
      }
    }
  }

  private static WeightSlice slice(float[] all, int number, int outputs, int inputs) {
    int size = outputs * inputs;
    float[] own = Arrays.copyOfRange(all, number * size, (number + 1) * size);
    return WeightSlice.whole(MemorySegment.ofArray(own), DType.FLOAT32, outputs, inputs);
  }

  @Test
  void amongEqualScoresTheLowerExpertComesFirst() {
    try (Device device = ReferenceDevice.open()) {
      Ops ops = device.openRanks(1).getFirst();
      Routing routing = device.allocateRouting(1, 5, 3);
      float[] scores = {0f, 2f, -0f, 2f, 0f};
      ops.route(routing, Trial.tensor(device, 1, 5, scores), 1, true);
      // Each expert multiplies by a number of its own, so that the sum names the chosen.
      List<LinearWeight> experts = new ArrayList<>();
      for (float factor : new float[] {1, 10, 100, 1000, 10_000}) {
        MemorySegment one = MemorySegment.ofArray(new float[] {factor});
        experts.add(
            device.packLinear(
                WeightSlice.whole(one, DType.FLOAT32, 1, 1),
                WeightFormat.FLOAT32,
                Parallelism.ROW));
      }
      Tensor ones = Trial.tensor(device, 3, 1, new float[] {1, 1, 1});
      Tensor products = Trial.poisoned(device, 3, 1);
      ops.linearRouted(products, ones, experts, routing);
      assertThat(products.segment().toArray(JAVA_FLOAT)).containsExactly(1, 10, 1000);
    }
  }

  @Test
  void aRowIsRoutedAlikeWhateverItsCompany() {
    Trial trial = Trial.named("company of routed rows");
    for (int i = 0; i < 20; i++) {
      Mixture all = Mixture.random(trial);
      int row = trial.between(0, all.rows - 1);
      Mixture alone =
          new Mixture(
              1,
              all.experts,
              all.chosen,
              all.inputs,
              all.outputs,
              all.normalize,
              Arrays.copyOfRange(all.scores, row * all.experts, (row + 1) * all.experts),
              Arrays.copyOfRange(all.x, row * all.inputs, (row + 1) * all.inputs),
              all.weights);
      try (Device device = CpuDevice.open()) {
        int[] many = Trial.bits(all.run(device, DType.BFLOAT16));
        int width = all.outputs + 2;
        Trial.assertSameBits(
            Arrays.copyOfRange(many, row * width, (row + 1) * width),
            Arrays.copyOf(Trial.bits(alone.run(device, DType.BFLOAT16)), width),
            "row " + row);
      }
    }
  }

  @Test
  void scoresThatAreNoNumbersStillGiveDifferentExperts() {
    try (Device device = ReferenceDevice.open()) {
      Routing routing = device.allocateRouting(2, 3, 3);
      float nan = Float.NaN;
      float[] scores = {nan, nan, nan, 1, nan, Float.POSITIVE_INFINITY};
      Ops ops = device.openRanks(1).getFirst();
      ops.route(routing, Trial.tensor(device, 2, 3, scores), 2, true);
      Tensor x = Trial.tensor(device, 2, 1, new float[] {5, 6});
      Tensor gathered = Trial.poisoned(device, 6, 1);
      ops.gatherRouted(gathered, x, routing, 1);
      assertThat(gathered.segment().toArray(JAVA_FLOAT)).containsExactly(5, 6, 5, 6, 5, 6);
    }
  }

  @Test
  void whatDoesNotFitIsRefused() {
    try (Device device = CpuDevice.open()) {
      Ops ops = device.openRanks(1).getFirst();
      assertThatThrownBy(() -> device.allocateRouting(4, 2, 3))
          .hasMessageContaining("3 of 2 experts (expected:");
      Routing routing = device.allocateRouting(4, 3, 2);
      Tensor small = Trial.poisoned(device, 4, 2);
      assertThatThrownBy(() -> ops.route(routing, small, 4, true))
          .hasMessageContaining("scores: FLOAT32 [4, 2] (expected: FLOAT32, at least [4, 3]");
      assertThatThrownBy(() -> ops.route(routing, Trial.poisoned(device, 5, 3), 5, true))
          .hasMessageContaining("rows: 5 (expected: 0 to 4");
      ops.route(routing, Trial.tensor(device, 4, 3, new float[12]), 4, true);
      assertThatThrownBy(() -> ops.gatherRouted(Trial.poisoned(device, 7, 2), small, routing, 2))
          .hasMessageContaining("out: FLOAT32 [7, 2]");
      assertThatThrownBy(
              () -> ops.linearRouted(Trial.poisoned(device, 8, 2), small, List.of(), routing))
          .hasMessageContaining("experts: 0 weights (expected: 3");
      assertThatThrownBy(() -> ops.combineRouted(Trial.poisoned(device, 4, 2), small, routing, 2))
          .hasMessageContaining("x: FLOAT32 [4, 2] (expected: FLOAT32, at least [8, 2]");
    }
  }
}
