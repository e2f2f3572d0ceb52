package dev.baton.worker.step;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.worker.fakes.Eventually;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Real threads under the names of those that compute, which report no progress and answer none. */
@Timeout(300)
class ComputingThreadsTest {

  private static final long HUNG_NANOS = 500_000_000;

  /** A step without progress; threads of it that seem to sleep for longer would be called hung. */
  private static final Duration LONG_STEP = Duration.ofMillis(1500);

  private final ComputingThreads threads = new ComputingThreads();
  private final Standstill standstill = new Standstill();
  private final CountDownLatch never = new CountDownLatch(1);
  private final List<Thread> started = new ArrayList<>();
  private volatile boolean over;

  @AfterEach
  void stop() throws InterruptedException {
    over = true;
    never.countDown();
    for (Thread thread : started) {
      thread.join();
    }
  }

  private void start(String name, Runnable body) {
    started.add(Thread.ofPlatform().name(name).start(body));
  }

  private void count() {
    AtomicLong count = new AtomicLong();
    while (!over) {
      count.lazySet(count.getPlain() + 1);
    }
  }

  private void sleep() {
    try {
      never.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private long look() {
    return standstill.look(true, 1, 1, threads.getAsBoolean(), System.nanoTime());
  }

  @Test
  void aStepThreadThatSleepsIsSeenToSleep() {
    start("baton-step", this::sleep);
    Eventually.holds("it sleeps", () -> look() > HUNG_NANOS);
  }

  @Test
  void aLongStepIsNoSleepThoughManyOthersWantTheProcessors() {
    for (int i = 0; i < 4 * Runtime.getRuntime().availableProcessors(); i++) {
      start("other-" + i, this::count);
    }
    start("baton-step", this::count);
    assertThat(longestStandstill()).isLessThan(HUNG_NANOS);
  }

  @Test
  void aStepThreadThatWaitsForItsHelpersIsAtWork() {
    start("baton-step", this::sleep);
    start("baton-r0-1", this::count);
    assertThat(longestStandstill()).isLessThan(HUNG_NANOS);
  }

  @Test
  void aHelperThatBeginsLaterIsFound() {
    start("baton-step", this::sleep);
    Eventually.holds("it sleeps", () -> look() > 0);
    start("baton-r0-1", this::count);
    assertThat(longestStandstill()).isLessThan(HUNG_NANOS);
  }

  private long longestStandstill() {
    long begun = System.nanoTime();
    AtomicLong longest = new AtomicLong();
    Eventually.holds(
        "the end of a long step",
        () -> {
          longest.accumulateAndGet(look(), Math::max);
          return System.nanoTime() - begun > LONG_STEP.toNanos();
        });
    return longest.get();
  }

  @Test
  void aThreadsAccountIsReadWhateverItsName() {
    String rest = " 1 2 3 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 1 0 99";
    assertThat(ComputingThreads.Account.of("9 (a) S (b) R" + rest))
        .isEqualTo(new ComputingThreads.Account(12, false));
    assertThat(ComputingThreads.Account.of("9 (baton-step) S" + rest).asleep()).isTrue();
    assertThat(ComputingThreads.Account.of("9 (baton-step) D" + rest).asleep()).isFalse();
    assertThatThrownBy(() -> ComputingThreads.Account.of("9 (baton-step) S 1 2"))
        .hasMessageContaining("expected: as in proc(5)");
  }
}
