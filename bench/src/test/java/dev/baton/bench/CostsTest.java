package dev.baton.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.baton.device.DType;
import java.util.List;
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
    try (Shape shape = Shape.open("llama-1b")) {
      return Costs.of(shape.config(), DType.BFLOAT16);
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
    assertThat(work.operations()).isCloseTo(2.0 * 512 * 16 * LAYER + 2.0 * HEAD + attention, EXACT);
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
    Costs windowed = new Costs(0, 0, 1, 0, 1, 2, 10, List.of(0, 4));
    // 1 + .. + 6 in the first layer, 1 + 2 + 3 + 4 + 4 + 4 in the second.
    assertThat(windowed.of(new Workload.Prefill(6), 1).operations()).isEqualTo(4.0 * (21 + 18));
    assertThat(windowed.of(new Workload.Decode(1, 7, 1), 1).bytes()).isEqualTo(10.0 * (10 + 4));
  }

  @Test
  void aTokenMultipliesItsExpertsAndABatchReadsThoseOfAllItsTokens() {
    Costs mixture = new Costs(100, 800, 0.25, 50, 0, 2, 0, List.of(0));
    Costs.Work one = mixture.of(new Workload.Decode(1, 0, 1), 1);
    assertThat(one.operations()).isEqualTo(2.0 * (100 + 200 + 50));
    assertThat(one.bytes()).isEqualTo(2.0 * (100 + 200 + 50));
    Costs.Work two = mixture.of(new Workload.Decode(2, 0, 1), 1);
    assertThat(two.operations()).isEqualTo(2 * one.operations());
    assertThat(two.bytes()).isEqualTo(2.0 * (100 + 200 + 150 + 50));
  }

  @Test
  void theHigherOfTheTwoTimesIsTheLimit() {
    Ceilings ceilings = new Ceilings(DType.BFLOAT16, 10e9, 1e12);
    Costs.Work memory = new Costs.Work(1e12, 20e9);
    Costs.Work compute = new Costs.Work(3e12, 20e9);
    assertThat(ceilings.seconds(memory)).isEqualTo(2);
    assertThat(ceilings.bound(memory)).isEqualTo(Ceilings.Bound.MEMORY);
    assertThat(ceilings.seconds(compute)).isEqualTo(3);
    assertThat(ceilings.bound(compute)).isEqualTo(Ceilings.Bound.COMPUTE);
  }
}
