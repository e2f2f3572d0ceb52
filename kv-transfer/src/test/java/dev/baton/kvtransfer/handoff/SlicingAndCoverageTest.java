package dev.baton.kvtransfer.handoff;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.SlabRange;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class SlicingAndCoverageTest {
  private static final long SEED = Long.getLong("seed", System.nanoTime());

  @Test
  void slicesOfAnyGrowthCoverEveryPositionOnceAndFitTheSlab() {
    System.out.println("SlicingAndCoverageTest: -Dseed=" + SEED);
    Random random = new Random(SEED);
    for (int round = 0; round < 2000; round++) {
      KvGeometry geometry =
          new KvGeometry(
              1 + random.nextInt(40),
              1 + random.nextInt(8),
              8 << random.nextInt(5),
              random.nextBoolean() ? 2 : 4);
      long slabBytes = geometry.bytesPerLayerToken() * (1 + random.nextInt(3000));
      int first = random.nextInt(50);
      int tokens = first + 1 + random.nextInt(400);
      Slicer slicer = new Slicer(geometry, slabBytes, first);
      List<SlabRange> ranges = new ArrayList<>();
      for (int computed = first; computed < tokens; ) {
        computed = Math.min(tokens, computed + 1 + random.nextInt(100));
        slicer.computed(computed);
        while (slicer.hasNext() && random.nextInt(10) > 0) {
          ranges.add(slicer.next());
        }
      }
      while (slicer.hasNext()) {
        ranges.add(slicer.next());
      }
      Collections.shuffle(ranges, random);
      Coverage coverage = new Coverage(geometry.layers(), first, tokens);
      for (SlabRange range : ranges) {
        assertThat(coverage.isExactly(tokens)).isFalse();
        assertThat(geometry.bytes(range)).isLessThanOrEqualTo(slabBytes);
        assertThat(coverage.add(range)).as("seed %d: %s", SEED, range).isTrue();
        assertThat(coverage.add(range)).as("seed %d: %s twice", SEED, range).isFalse();
      }
      assertThat(coverage.isExactly(tokens)).as("seed %d", SEED).isTrue();
    }
  }

  @Test
  void slabsAreAlmostFullWhereTheTokensAllow() {
    KvGeometry llama8b = new KvGeometry(32, 8, 128, 2);
    Slicer slicer = new Slicer(llama8b, 2 << 20, 0);
    slicer.computed(4096);
    int slabs = 0;
    while (slicer.hasNext()) {
      slicer.next();
      slabs++;
    }
    assertThat((long) slabs << 21).isEqualTo(llama8b.bytes(new SlabRange(0, 32, 0, 4096)));
  }

  @Test
  void aRangeThatTouchesATakenPositionOrABoundChangesNothing() {
    Coverage coverage = new Coverage(4, 10, 20);
    assertThat(coverage.add(new SlabRange(1, 2, 12, 15))).isTrue();
    assertThat(coverage.add(new SlabRange(0, 4, 14, 16))).isFalse();
    assertThat(coverage.add(new SlabRange(0, 2, 10, 13))).isFalse();
    assertThat(coverage.add(new SlabRange(0, 4, 10, 20))).isFalse();
    assertThat(coverage.add(new SlabRange(0, 1, 9, 11))).isFalse();
    assertThat(coverage.add(new SlabRange(0, 1, 19, 21))).isFalse();
    assertThat(coverage.add(new SlabRange(3, 5, 10, 11))).isFalse();
    assertThat(coverage.add(new SlabRange(0, 1, 10, 20))).isTrue();
    assertThat(coverage.add(new SlabRange(2, 4, 10, 20))).isTrue();
    assertThat(coverage.add(new SlabRange(1, 2, 10, 12))).isTrue();
    assertThat(coverage.isExactly(20)).isFalse();
    assertThat(coverage.add(new SlabRange(1, 2, 15, 20))).isTrue();
    assertThat(coverage.isExactly(20)).isTrue();
  }

  @Test
  void aLayerOfATokenLargerThanASlabIsRefused() {
    assertThatThrownBy(() -> new Slicer(new KvGeometry(1, 8, 128, 4), 8191, 0))
        .hasMessageContaining("8192");
  }
}
