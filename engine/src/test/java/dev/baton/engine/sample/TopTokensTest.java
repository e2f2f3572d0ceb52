package dev.baton.engine.sample;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.checkpoint.Seed;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class TopTokensTest {

  private final TopTokens top = new TopTokens();

  @Test
  void agreesWithAFullSortWhateverTheLogits() {
    Random random = Seed.random("TopTokensTest");
    for (int round = 0; round < 500; round++) {
      int vocabulary = 1 + random.nextInt(300);
      float[] logits = new float[vocabulary];
      for (int id = 0; id < vocabulary; id++) {
        logits[id] =
            switch (random.nextInt(4)) {
              case 0 -> random.nextInt(3) - 1;
              case 1 -> (float) random.nextGaussian();
              case 2 -> random.nextBoolean() ? 0.0f : -0.0f;
              default -> random.nextBoolean() ? Float.NEGATIVE_INFINITY : -1e30f;
            };
      }
      int wanted = 1 + random.nextInt(vocabulary + 5);

      top.select(logits, vocabulary, wanted);

      List<Integer> expected =
          IntStream.range(0, vocabulary)
              .boxed()
              .sorted(
                  Comparator.<Integer>comparingDouble(id -> -logits[id] + 0.0)
                      .thenComparing(Comparator.naturalOrder()))
              .limit(wanted)
              .toList();
      assertThat(IntStream.range(0, top.count()).map(top::id).boxed().toList()).isEqualTo(expected);
    }
  }

  @Test
  void equalLogitsComeByRisingIdAndTheLastPlacesGoToTheSmallestIds() {
    float[] logits = {1f, 3f, 1f, 3f, 1f, 1f};

    top.select(logits, logits.length, 4);

    assertThat(IntStream.range(0, 4).map(top::id)).containsExactly(1, 3, 0, 2);
  }
}
