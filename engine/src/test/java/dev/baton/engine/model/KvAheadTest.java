package dev.baton.engine.model;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.DType;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** {@link KvAhead} over a cache that notes what is touched. */
class KvAheadTest {

  private static final int BLOCKS = 40;

  /** Blocks [from, to) of each touch; with a gate it waits there, as a busy machine would. */
  private static final class Noted implements KvCache {
    final BlockingQueue<List<Integer>> touches = new LinkedBlockingQueue<>();
    final CountDownLatch stopped = new CountDownLatch(1);
    final boolean waits;

    Noted(boolean waits) {
      this.waits = waits;
    }

    @Override
    public KvShape shape() {
      return new KvShape(2, BLOCKS, 32, 0, 1, 8, DType.FLOAT32);
    }

    @Override
    public boolean comesWithUse() {
      return true;
    }

    @Override
    public void touch(int fromBlock, int toBlock, BooleanSupplier stop) {
      touches.add(List.of(fromBlock, toBlock));
      while (waits && !stop.getAsBoolean()) {
        Thread.onSpinWait();
      }
      stopped.countDown();
    }

    List<Integer> next() throws InterruptedException {
      return touches.poll(60, TimeUnit.SECONDS);
    }
  }

  @Test
  void touchesWhatIsExpectedOnceAndInOrder() throws Exception {
    Noted cache = new Noted(false);
    try (KvAhead ahead = new KvAhead(List.of(cache))) {
      ahead.expect(1);
      assertThat(cache.next()).containsExactly(0, 16);
      ahead.expect(16);
      ahead.expect(17);
      assertThat(cache.next()).containsExactly(16, 32);
      ahead.expect(1000);
      assertThat(cache.next()).as("no block beyond the last").containsExactly(32, BLOCKS);
      ahead.expect(1000);
    }
    assertThat(cache.touches).isEmpty();
  }

  @Test
  void closeStopsATouchAndWaitsForItsEnd() throws Exception {
    Noted cache = new Noted(true);
    KvAhead ahead = new KvAhead(List.of(cache));
    ahead.expect(BLOCKS);
    assertThat(cache.next()).containsExactly(0, 16);
    ahead.close();
    assertThat(cache.stopped.getCount()).isZero();
    ahead.expect(BLOCKS);
    assertThat(cache.touches).as("after the close").isEmpty();
  }

  @Test
  @Timeout(300)
  void aTouchThatFailsEndsItAndHoldsUpNoClose() throws Exception {
    CountDownLatch failed = new CountDownLatch(1);
    KvCache cache =
        new KvCache() {
          @Override
          public KvShape shape() {
            return new KvShape(2, BLOCKS, 32, 0, 1, 8, DType.FLOAT32);
          }

          @Override
          public boolean comesWithUse() {
            return true;
          }

          @Override
          public void touch(int fromBlock, int toBlock, BooleanSupplier stop) {
            failed.countDown();
            throw new IllegalStateException("touch: refused");
          }
        };
    try (KvAhead ahead = new KvAhead(List.of(cache))) {
      ahead.expect(1);
      assertThat(failed.await(60, TimeUnit.SECONDS)).isTrue();
      ahead.expect(BLOCKS);
    }
  }

  @Test
  void leavesMemoryAloneThatIsThereFromTheStart() {
    KvCache cache = () -> new KvShape(2, BLOCKS, 32, 0, 1, 8, DType.FLOAT32);
    try (KvAhead ahead = new KvAhead(List.of(cache))) {
      ahead.expect(BLOCKS);
    }
  }
}
