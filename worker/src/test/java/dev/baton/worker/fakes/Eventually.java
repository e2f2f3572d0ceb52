package dev.baton.worker.fakes;

import java.time.Duration;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/** Waits for what another thread or process does. */
public final class Eventually {

  /**
   * For what must come about and has no time of its own to keep: longer than it takes on a small
   * and busy machine. Only a test that fails ever waits for so long.
   */
  public static final Duration AMPLE = Duration.ofSeconds(60);

  private Eventually() {}

  /** Fails when {@code condition} does not become true, however slow the machine. */
  public static void holds(String what, BooleanSupplier condition) {
    within(AMPLE, what, condition);
  }

  /** Fails when {@code condition} does not become true within {@code most}. */
  public static void within(Duration most, String what, BooleanSupplier condition) {
    long end = System.nanoTime() + most.toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() - end > 0) {
        throw new AssertionError("not within %s: %s".formatted(most, what));
      }
      LockSupport.parkNanos(Duration.ofMillis(1).toNanos());
    }
  }
}
