package dev.baton.bench.quality;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class DivergenceTest {

  private static float[] logs(double... probabilities) {
    float[] logits = new float[probabilities.length];
    for (int i = 0; i < logits.length; i++) {
      logits[i] = (float) Math.log(probabilities[i]);
    }
    return logits;
  }

  @Test
  void equalLogitsDoNotDivergeWhateverIsAddedToAll() {
    float[] logits = {1, 2, 3, -4};
    float[] shifted = {101, 102, 103, 96};
    assertThat(Divergence.compare(logits, logits).nats()).isZero();
    assertThat(Divergence.compare(logits, shifted).nats()).isCloseTo(0, within(1e-9));
    assertThat(Divergence.compare(logits, shifted).sameTop()).isTrue();
  }

  @Test
  void theDivergenceIsThatOfTheDistributions() {
    Divergence.Position position = Divergence.compare(logs(0.5, 0.25, 0.25), logs(0.25, 0.5, 0.25));
    assertThat(position.nats()).isCloseTo(0.5 * Math.log(2) + 0.25 * Math.log(0.5), within(1e-6));
    assertThat(position.sameTop()).isFalse();
  }

  @Test
  void hugeLogitsAreNoTrouble() {
    float[] one = {1e30f, 0};
    float[] other = {0, 1e30f};
    assertThat(Divergence.compare(one, one).nats()).isZero();
    assertThat(Divergence.compare(one, other).nats()).isPositive();
  }

  @Test
  void theSurpriseOfATokenIsMinusTheLogOfItsProbability() {
    assertThat(Divergence.surprise(logs(0.125, 0.875), 0)).isCloseTo(Math.log(8), within(1e-6));
  }

  @Test
  void allPositionsCountAlike() {
    Divergence divergence = new Divergence();
    for (int i = 1; i <= 200; i++) {
      divergence.add(new Divergence.Position(i, i > 50));
    }
    divergence.addSurprise(Math.log(4), Math.log(8));
    divergence.addSurprise(Math.log(16), Math.log(32));
    assertThat(divergence.positions()).isEqualTo(200);
    assertThat(divergence.mean()).isCloseTo(100.5, within(1e-9));
    assertThat(divergence.percentile99()).isEqualTo(198);
    assertThat(divergence.most()).isEqualTo(200);
    assertThat(divergence.topAgreement()).isEqualTo(0.75);
    assertThat(divergence.referencePerplexity()).isCloseTo(8, within(1e-9));
    assertThat(divergence.perplexity()).isCloseTo(16, within(1e-9));
  }
}
