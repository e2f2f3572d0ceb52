package dev.baton.cli.e2e;

import java.time.Duration;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/** A point in time until which a condition may take to become true. */
final class Deadline {

  /**
   * For what must come about and has no time of its own to keep: longer than it takes on a small
   * and busy machine. Only a test that fails ever waits for so long.
   */
  static final Duration AMPLE = Duration.ofSeconds(120);

  /** For what must be freed by itself: a hand-off's lease of 10 s would end it as well, later. */
  static final Duration BEFORE_A_LEASE_ENDS = Duration.ofSeconds(8);

  private static final long POLL_NANOS = 5_000_000;

  private final long nanos;

  private Deadline(long nanos) {
    this.nanos = nanos;
  }

  static Deadline in(Duration duration) {
    return new Deadline(System.nanoTime() + duration.toNanos());
  }

  boolean passed() {
    return System.nanoTime() - nanos > 0;
  }

  /** Between two looks at something in another process, which cannot wake us. */
  static void pause() {
    LockSupport.parkNanos(POLL_NANOS);
  }

  /** Fails when {@code condition} does not become true, however slow the machine. */
  static void await(String what, BooleanSupplier condition) {
    await(what, AMPLE, condition);
  }

  /** Fails when {@code condition} is not true within {@code limit}. */
  static void await(String what, Duration limit, BooleanSupplier condition) {
    Deadline deadline = in(limit);
    while (!condition.getAsBoolean()) {
      if (deadline.passed()) {
        throw new AssertionError("not within %d ms: %s".formatted(limit.toMillis(), what));
      }
      pause();
    }
  }
}
