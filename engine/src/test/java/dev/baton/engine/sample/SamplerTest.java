package dev.baton.engine.sample;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.baton.device.LogitScan;
import dev.baton.device.reference.ReferenceLogitScan;
import dev.baton.engine.EngineException;
import dev.baton.engine.SampledToken.Logprobs;
import dev.baton.engine.Sampling;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class SamplerTest {

  private static final int DRAWS = 20_000;
  private static final LogitScan SCAN = new ReferenceLogitScan();
  private static final int[] NO_TOKENS = {};

  @Test
  void greedyTakesTheLargestLogitAndTheSmallestIdOnATie() {
    assertThat(choose(Sampling.greedy(1), 0, 1f, 5f, 5f, -2f)).isEqualTo(1);
    assertThat(choose(Sampling.greedy(1), 0, -0.0f, 0.0f)).isZero();
  }

  @Test
  void drawsFollowTheProbabilities() {
    float[] logits = logs(0.5, 0.25, 0.125, 0.125);
    assertDistribution(counts(sampling(1f, 0, 1f), logits), 0.5, 0.25, 0.125, 0.125);
  }

  @Test
  void temperatureSharpensAndFlattens() {
    float[] logits = logs(0.8, 0.2);
    // p^(1/T), normalized: T = 0.5 squares, T = 2 takes roots.
    assertDistribution(counts(sampling(0.5f, 0, 1f), logits), 0.64 / 0.68, 0.04 / 0.68);
    double roots = Math.sqrt(0.8) + Math.sqrt(0.2);
    assertDistribution(
        counts(sampling(2f, 0, 1f), logits), Math.sqrt(0.8) / roots, Math.sqrt(0.2) / roots);
  }

  @Test
  void topKKeepsTheLikeliestAndTheirProportions() {
    float[] logits = logs(0.1, 0.4, 0.3, 0.2);
    assertDistribution(counts(sampling(1f, 2, 1f), logits), 0, 4 / 7.0, 3 / 7.0, 0);
  }

  @Test
  void topKOfOneIsGreedy() {
    float[] logits = {2f, 7f, 7f, 1f};
    for (int index = 0; index < 100; index++) {
      assertThat(choose(sampling(5f, 1, 1f), index, logits)).isEqualTo(1);
    }
  }

  @Test
  void topKBeyondTheVocabularyKeepsAll() {
    float[] logits = logs(0.5, 0.5);
    assertThat(drawn(sampling(1f, 99, 1f), logits)).containsExactly(0, 1);
  }

  @Test
  void tiesAtTheEdgeOfTopKGoToTheSmallerIds() {
    assertThat(drawn(sampling(1f, 2, 1f), 1f, 1f, 1f, 1f)).containsExactly(0, 1);
  }

  @Test
  void topPKeepsTheFewestTokensThatReachIt() {
    float[] logits = logs(0.1, 0.5, 0.15, 0.25);
    assertThat(drawn(sampling(1f, 0, 0.45f), logits)).containsExactly(1);
    assertThat(drawn(sampling(1f, 0, 0.74f), logits)).containsExactly(1, 3);
    assertThat(drawn(sampling(1f, 0, 0.76f), logits)).containsExactly(1, 2, 3);
    assertThat(drawn(sampling(1f, 0, 0.95f), logits)).containsExactly(0, 1, 2, 3);
  }

  @Test
  void theSmallestTopPStillKeepsOne() {
    assertThat(drawn(sampling(1f, 0, Float.MIN_VALUE), logs(0.3, 0.7))).containsExactly(1);
  }

  @Test
  void topPComesAfterTemperature() {
    // At temperature 0.5 the first has 0.64 / 0.68 = 0.94 of the mass instead of 0.8.
    float[] logits = logs(0.8, 0.2);
    assertThat(drawn(sampling(1f, 0, 0.9f), logits)).containsExactly(0, 1);
    assertThat(drawn(sampling(0.5f, 0, 0.9f), logits)).containsExactly(0);
  }

  @Test
  void topPComesAfterTopKAndCountsOnlyWhatThatLeft() {
    // Of 0.4 + 0.3 the first has 0.57.
    float[] logits = logs(0.4, 0.3, 0.2, 0.1);
    assertThat(drawn(sampling(1f, 2, 0.55f), logits)).containsExactly(0);
    assertThat(drawn(sampling(1f, 0, 0.55f), logits)).containsExactly(0, 1);
  }

  @Test
  void topPFindsItsWayThroughAFlatVocabulary() {
    float[] logits = new float[300];
    Set<Integer> drawn = drawn(sampling(1f, 0, 0.5f), logits);
    assertThat(drawn).hasSize(150).allMatch(id -> id < 150);
  }

  @Test
  void tokensOfNoProbabilityAreNeverDrawn() {
    float[] logits = {Float.NEGATIVE_INFINITY, 0f, Float.NEGATIVE_INFINITY, 0f, -2000f};
    assertThat(drawn(sampling(1f, 0, 1f), logits)).containsExactly(1, 3);
    assertThat(drawn(sampling(1f, 5, 1f), logits)).containsExactly(1, 3);
    assertThat(drawn(sampling(1f, 0, 0.99f), logits)).containsExactly(1, 3);
  }

  @Test
  void theTiniestTemperatureIsGreedyButForTies() {
    assertThat(drawn(sampling(Float.MIN_VALUE, 0, 1f), 1f, 2f, 1.9999f)).containsExactly(1);
  }

  @Test
  void aDrawDependsOnNothingButLogitsSeedAndIndex() {
    float[] logits = logs(0.2, 0.3, 0.1, 0.4);
    Sampler used = new Sampler(SCAN, logits.length, 2);
    Sampling sampling = sampling(1f, 3, 0.95f);
    float[] both = new float[8];
    System.arraycopy(logits, 0, both, 4, 4);
    for (int index = 50; index >= 0; index--) {
      used.begin();
      used.score(1, 2);
      used.draw(sampling, null, NO_TOKENS, 0, index);
      used.run(MemorySegment.ofArray(both));
      assertThat(used.token(1)).isEqualTo(choose(sampling, index, logits));
    }
  }

  @Test
  void aRowIsFoundAmongOthers() {
    Sampler sampler = new Sampler(SCAN, 3, 2);
    sampler.begin();
    sampler.draw(Sampling.greedy(1), null, NO_TOKENS, 0, 0);
    sampler.draw(Sampling.greedy(1), null, NO_TOKENS, 0, 0);
    sampler.run(MemorySegment.ofArray(new float[] {9f, 0f, 0f, 0f, 0f, 9f}));
    assertThat(sampler.token(0)).isZero();
    assertThat(sampler.token(1)).isEqualTo(2);
  }

  @Test
  void everyStopTokenIsMaskedBelowMinTokensHoweverManyThereAre() {
    float[] logits = new float[300];
    for (int stops = 1; stops < logits.length; stops++) {
      List<Integer> masked = IntStream.range(0, stops).boxed().toList();
      Sampling sampling =
          Sampling.greedy(1)
              .with(
                  draft -> {
                    draft.minTokens = 1;
                    draft.stopTokenIds = masked;
                  });
      Sampler sampler = new Sampler(SCAN, logits.length, 1);
      sampler.begin();
      sampler.draw(sampling, Adjustments.of(sampling, 0, List.of()), NO_TOKENS, 0, 0);
      sampler.run(MemorySegment.ofArray(logits.clone()));
      assertThat(sampler.token(0)).isEqualTo(stops);
    }
  }

  @Test
  void logProbabilitiesAreThoseOfTheRawLogits() {
    float[] logits = logs(0.5, 0.25, 0.125, 0.125);
    for (int id = 0; id < logits.length; id++) {
      logits[id] += 100f;
    }

    Logprobs logprobs = scored(1, 3, logits).logprobs(0);

    assertThat(logprobs.chosen()).isCloseTo((float) Math.log(0.25), within(1e-5f));
    assertThat(logprobs.top()).extracting(Logprobs.Entry::id).containsExactly(0, 1, 2);
    assertThat(logprobs.top().getFirst().logprob()).isCloseTo((float) Math.log(0.5), within(1e-5f));
    assertThat(logprobs.top().get(1).logprob()).isEqualTo(logprobs.chosen());
  }

  @Test
  void logProbabilitiesWithoutTopsNameOnlyTheChosen() {
    assertThat(scored(1, 0, 1f, 1f).logprobs(0).top()).isEmpty();
  }

  @Test
  void logitsThatAreNoNumbersAreRefused() {
    for (float[] logits :
        List.of(
            new float[] {1f, Float.NaN, 2f},
            new float[] {1f, Float.POSITIVE_INFINITY},
            new float[] {Float.NEGATIVE_INFINITY, Float.NEGATIVE_INFINITY},
            new float[] {Float.NaN})) {
      Sampler sampler = sampler(Sampling.greedy(1), 0, logits);
      assertThat(sampler.failure(0))
          .isInstanceOfSatisfying(
              EngineException.class,
              e -> assertThat(e.kind()).isEqualTo(EngineException.Kind.INTERNAL));
    }
  }

  private static Sampling sampling(float temperature, int topK, float topP) {
    return new Sampling(1, temperature, topK, topP, 1234, -1, false, List.of());
  }

  private static Sampler sampler(Sampling sampling, int index, float... logits) {
    Sampler sampler = new Sampler(SCAN, logits.length, 1);
    sampler.begin();
    sampler.draw(sampling, null, NO_TOKENS, 0, index);
    sampler.run(MemorySegment.ofArray(logits.clone()));
    return sampler;
  }

  private static Sampler scored(int target, int tops, float... logits) {
    Sampler sampler = new Sampler(SCAN, logits.length, 1);
    sampler.begin();
    sampler.score(target, tops);
    sampler.run(MemorySegment.ofArray(logits));
    return sampler;
  }

  private static int choose(Sampling sampling, int index, float... logits) {
    return sampler(sampling, index, logits).token(0);
  }

  private static int[] counts(Sampling sampling, float... logits) {
    Sampler sampler = new Sampler(SCAN, logits.length, 1);
    int[] counts = new int[logits.length];
    for (int index = 0; index < DRAWS; index++) {
      sampler.begin();
      sampler.draw(sampling, null, NO_TOKENS, 0, index);
      sampler.run(MemorySegment.ofArray(logits));
      counts[sampler.token(0)]++;
    }
    return counts;
  }

  private static Set<Integer> drawn(Sampling sampling, float... logits) {
    int[] counts = counts(sampling, logits);
    Set<Integer> drawn = new TreeSet<>();
    for (int id = 0; id < counts.length; id++) {
      if (counts[id] > 0) {
        drawn.add(id);
      }
    }
    return drawn;
  }

  private static float[] logs(double... probabilities) {
    float[] logits = new float[probabilities.length];
    for (int i = 0; i < logits.length; i++) {
      logits[i] = (float) Math.log(probabilities[i]);
    }
    return logits;
  }

  /** Chi-square against the expected shares; the seed is fixed, so this never flickers. */
  private static void assertDistribution(int[] counts, double... shares) {
    double chiSquare = 0;
    for (int id = 0; id < counts.length; id++) {
      double expected = shares[id] * DRAWS;
      if (expected == 0) {
        assertThat(counts[id]).isZero();
      } else {
        chiSquare += (counts[id] - expected) * (counts[id] - expected) / expected;
      }
    }
    // Three degrees of freedom at most: above 16.3 in one of a thousand seeds.
    assertThat(chiSquare).as(Arrays.toString(counts)).isLessThan(16.3);
  }
}
