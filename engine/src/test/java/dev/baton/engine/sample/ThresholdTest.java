package dev.baton.engine.sample;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.checkpoint.Seed;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class ThresholdTest {

  @Test
  void theOrderOfFloatsIsThatOfTheirKeysAndBothZerosAreEqual() {
    float[] rising = {
      Float.NEGATIVE_INFINITY,
      -Float.MAX_VALUE,
      -1f,
      -Float.MIN_VALUE,
      0f,
      Float.MIN_VALUE,
      1f,
      Float.MAX_VALUE,
      Float.POSITIVE_INFINITY
    };
    for (int i = 0; i < rising.length; i++) {
      assertThat(Threshold.valueOf(Threshold.ordered(rising[i]))).isEqualTo(rising[i]);
      for (int j = 0; j < rising.length; j++) {
        assertThat(
                Integer.signum(
                    Integer.compareUnsigned(
                        Threshold.ordered(rising[i]), Threshold.ordered(rising[j]))))
            .isEqualTo(Integer.compare(i, j));
      }
    }
    assertThat(Threshold.ordered(-0f)).isEqualTo(Threshold.ordered(0f));
  }

  @Test
  void theCutIsWhereASortedListReachesTheMass() {
    Random random = Seed.random("threshold");
    Threshold threshold = new Threshold();
    for (int round = 0; round < 500; round++) {
      int count = 1 + random.nextInt(200);
      int bits = 1 + random.nextInt(31);
      int[] keys = random.ints(count, 0, 1 << bits - 1 | 1).map(key -> key + 1).toArray();
      boolean counted = random.nextBoolean();
      int[] masses = counted ? null : keys;
      Integer[] order = IntStream.range(0, count).boxed().toArray(Integer[]::new);
      Arrays.sort(order, Comparator.comparingInt((Integer i) -> -keys[i]));
      long total = counted ? count : Arrays.stream(keys).asLongStream().sum();
      long wanted = 1 + random.nextLong(total);
      long before = 0;
      int last = 0;
      while (before + (counted ? 1 : keys[order[last]]) < wanted) {
        before += counted ? 1 : keys[order[last]];
        last++;
      }
      long above = 0;
      for (int key : keys) {
        above += key > keys[order[last]] ? counted ? 1 : key : 0;
      }

      threshold.find(keys, masses, count, wanted);

      assertThat(threshold.key()).isEqualTo(keys[order[last]]);
      assertThat(threshold.missing()).isEqualTo(wanted - above);
    }
  }
}
