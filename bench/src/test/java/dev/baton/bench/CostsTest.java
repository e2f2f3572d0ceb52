package dev.baton.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.baton.device.DType;
import dev.baton.device.WeightFormat;
import dev.baton.engine.Formats;
import java.util.List;
import java.util.Map;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;

class CostsTest {

  /** Matrices of one layer of Llama-3.2-1B: q, k, v, o, gate, up, down. */
  private static final long LAYER =
      2048L * 2048 + 2 * 512L * 2048 + 2048L * 2048 + 3 * 8192L * 2048;

  private static final long HEAD = 128256L * 2048;
  private static final Offset<Double> EXACT = within(1.0);

  private final Costs costs = costs();

  private static Costs costs() {
    return costs(Formats.of(DType.BFLOAT16));
  }

  private static Costs costs(Formats formats) {
    try (Shape shape = Shape.open("llama-1b")) {
      return Costs.of(shape.config(), formats);
    }
  }

  @Test
  void aDecodeStepReadsAllWeightsAndTheKvOfEverySession() {
    Workload decode = new Workload.Decode(2, 100, 1);
    Costs.Work work = costs.of(decode, 1);
    double weights = 2.0 * (16 * LAYER + HEAD);
    // 100 in the cache, two steps to warm up, and the token itself.
    double kv = 2 * 103.0 * 16 * 2 * 8 * 64 * 2;
    assertThat(work.bytes()).isCloseTo(weights + kv, EXACT);
    assertThat(weights / 1e9).isCloseTo(2.47, within(0.01));
  }

  @Test
  void aDecodeOfSeveralStepsCountsTheContextThatGrows() {
    Costs.Work one = costs.of(new Workload.Decode(1, 10, 1), 1);
    Costs.Work three = costs.of(new Workload.Decode(1, 10, 3), 3);
    double perPosition = 16 * 2 * 8 * 64 * 2;
    assertThat(three.bytes()).isCloseTo(3 * one.bytes() + (1 + 2) * perPosition, EXACT);
  }

  @Test
  void aPrefillMultipliesEveryLayerOnceATokenAndTheOutputLayerOnce() {
    Costs.Work work = costs.of(new Workload.Prefill(512), 2);
    double attention = 4.0 * 16 * 32 * 64 * (512.0 * 513 / 2);
    assertThat(work.in(Arithmetic.BFLOAT16))
        .isCloseTo(2.0 * 512 * 16 * LAYER + 2.0 * HEAD + attention, EXACT);
    assertThat(2.0 * 16 * LAYER / 1e9).isCloseTo(1.95, within(0.01));
  }

  @Test
  void aPrefillReadsTheLayersOnceAStep() {
    double one = costs.of(new Workload.Prefill(512), 1).bytes();
    double two = costs.of(new Workload.Prefill(512), 2).bytes();
    assertThat(two - one).isCloseTo(2.0 * 16 * LAYER, EXACT);
  }

  @Test
  void aSlidingWindowBoundsWhatATokenSees() {
    Costs windowed = costs(0, 0, 1, 0, 1, 10, List.of(0, 4));
    // 1 + .. + 6 in the first layer, 1 + 2 + 3 + 4 + 4 + 4 in the second.
    assertThat(windowed.of(new Workload.Prefill(6), 1).in(Arithmetic.BFLOAT16))
        .isEqualTo(4.0 * (21 + 18));
    assertThat(windowed.of(new Workload.Decode(1, 7, 1), 1).bytes()).isEqualTo(10.0 * (10 + 4));
  }

  @Test
  void aTokenMultipliesItsExpertsAndABatchReadsThoseOfAllItsTokens() {
    Costs mixture = costs(100, 800, 0.25, 50, 0, 0, List.of(0));
    Costs.Work one = mixture.of(new Workload.Decode(1, 0, 1), 1);
    assertThat(one.in(Arithmetic.BFLOAT16)).isEqualTo(2.0 * (100 + 200 + 50));
    assertThat(one.bytes()).isEqualTo(2.0 * (100 + 200 + 50));
    Costs.Work two = mixture.of(new Workload.Decode(2, 0, 1), 1);
    assertThat(two.in(Arithmetic.BFLOAT16)).isEqualTo(2 * one.in(Arithmetic.BFLOAT16));
    assertThat(two.bytes()).isEqualTo(2.0 * (100 + 200 + 150 + 50));
  }

  /** Of bfloat16 weights, without scales. */
  private static Costs costs(
      long layers,
      long experts,
      double chosen,
      long head,
      long attentionWidth,
      double kvBytes,
      List<Integer> windows) {
    return new Costs(
        new Costs.Matrices(layers, 2 * layers),
        new Costs.Matrices(experts, 2 * experts),
        chosen,
        new Costs.Matrices(head, 2 * head),
        attentionWidth,
        kvBytes,
        windows,
        Arithmetic.BFLOAT16,
        Arithmetic.BFLOAT16);
  }

  @Test
  void quantizedWeightsCountWithTheirScales() {
    Workload decode = new Workload.Decode(1, 0, 1);
    double kv = 4 * 16 * 2 * 8 * 64 * 2;
    long outputs = 16 * (2048 + 512 + 512 + 2048 + 8192 + 8192 + 2048) + 128256;
    double int8 = costs(quantized(WeightFormat.INT8)).of(decode, 1).bytes();
    assertThat(int8).isCloseTo(16 * LAYER + HEAD + 4.0 * outputs + kv, EXACT);
    double int4 = costs(quantized(WeightFormat.INT4)).of(decode, 1).bytes();
    assertThat(int4).isCloseTo(16 * LAYER * 4.25 / 8 + HEAD + 4.0 * outputs + kv, EXACT);
  }

  private static Formats quantized(WeightFormat weights) {
    return new Formats(DType.BFLOAT16, weights, DType.BFLOAT16);
  }

  @Test
  void productsOfQuantizedWeightsAndAttentionHaveLimitsOfTheirOwn() {
    Costs.Work work = costs(quantized(WeightFormat.INT4)).of(new Workload.Prefill(512), 1);
    assertThat(work.in(Arithmetic.INT8)).isCloseTo(2.0 * 512 * 16 * LAYER + 2.0 * HEAD, EXACT);
    assertThat(work.in(Arithmetic.BFLOAT16))
        .isCloseTo(4.0 * 16 * 32 * 64 * (512.0 * 513 / 2), EXACT);
  }

  @Test
  void theHigherOfTheTwoTimesIsTheLimit() {
    Ceilings ceilings =
        new Ceilings(10e9, Map.of(Arithmetic.BFLOAT16, 1e12, Arithmetic.INT8, 2e12));
    Costs.Work memory = new Costs.Work(20e9, Map.of(Arithmetic.BFLOAT16, 1e12));
    Costs.Work compute =
        new Costs.Work(20e9, Map.of(Arithmetic.BFLOAT16, 1e12, Arithmetic.INT8, 4e12));
    assertThat(ceilings.seconds(memory)).isEqualTo(2);
    assertThat(ceilings.bound(memory)).isEqualTo(Ceilings.Bound.MEMORY);
    assertThat(ceilings.seconds(compute)).isEqualTo(3);
    assertThat(ceilings.bound(compute)).isEqualTo(Ceilings.Bound.COMPUTE);
  }
}
