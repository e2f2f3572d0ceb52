package dev.baton.cli.e2e;

import java.time.Duration;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/** A point in time until which a condition may take to become true. */
final class Deadline {

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
