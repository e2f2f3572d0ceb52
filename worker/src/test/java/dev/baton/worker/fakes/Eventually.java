package dev.baton.worker.fakes;

import java.time.Duration;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/** Waits for what another thread or process does. */
public final class Eventually {

  private Eventually() {}

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
