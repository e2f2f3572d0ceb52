package dev.baton.worker;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.DoubleSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Has what the chips draw measured, over and over, on a thread of its own; ends at once where
 * nothing is known of it.
 */
final class PowerWatch implements AutoCloseable {

  private static final Logger LOG = LoggerFactory.getLogger(PowerWatch.class);

  private final DoubleSupplier measure;
  private final Duration every;
  private final CountDownLatch closed = new CountDownLatch(1);

  /**
   * @param measure measures once; answers negative when nothing is known
   * @param every time between two measurements
   */
  PowerWatch(DoubleSupplier measure, Duration every) {
    this.measure = measure;
    this.every = every;
  }

  void start() {
    Thread.ofPlatform().name("baton-power").daemon().start(this::watch);
  }

  private void watch() {
    try {
      while (measure.getAsDouble() >= 0 && !closed.await(every.toNanos(), TimeUnit.NANOSECONDS)) {}
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (RuntimeException e) {
      LOG.warn("energy: no longer measured", e);
    }
  }

  @Override
  public void close() {
    closed.countDown();
  }
}
