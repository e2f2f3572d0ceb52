package dev.baton.worker;

import dev.baton.device.DeviceHealth;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Looks after the chips that a worker computes on, on a thread of its own: keeps what was last
 * seen, for metrics, logs when a chip begins or ends to be throttled, and tells when one is sick. A
 * device of which nothing is known is looked at once.
 */
final class HealthWatch implements AutoCloseable {

  private static final Logger LOG = LoggerFactory.getLogger(HealthWatch.class);

  private final Supplier<DeviceHealth> source;
  private final Duration every;
  private final CompletableFuture<String> sick = new CompletableFuture<>();
  private final CountDownLatch closed = new CountDownLatch(1);
  private volatile DeviceHealth last = DeviceHealth.UNKNOWN;
  private List<List<String>> throttled = List.of();

  /**
   * @param every time between two looks
   */
  HealthWatch(Supplier<DeviceHealth> source, Duration every) {
    this.source = source;
    this.every = every;
  }

  void start() {
    Thread.ofPlatform().name("baton-health").daemon().start(this::watch);
  }

  private void watch() {
    try {
      do {
        look();
      } while (!last.chips().isEmpty() && !closed.await(every.toNanos(), TimeUnit.NANOSECONDS));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (RuntimeException e) {
      LOG.warn("health: no longer watched", e);
    }
  }

  /** Looks now. */
  void look() {
    last = source.get();
    List<List<String>> now = last.chips().stream().map(DeviceHealth.Chip::throttled).toList();
    if (!now.equals(throttled)) {
      for (DeviceHealth.Chip chip : last.chips()) {
        LOG.info(
            "health: {}: {} C, {} W, throttled by {}",
            chip.name(),
            chip.celsius(),
            chip.watts(),
            chip.throttled().isEmpty() ? "nothing" : chip.throttled());
      }
      throttled = now;
    }
    if (!last.sick().isEmpty()) {
      sick.complete(String.join("; ", last.sick()));
    }
  }

  /** What was seen last. Any thread. */
  DeviceHealth last() {
    return last;
  }

  /** Completes with the reason when a chip should be given no more work. */
  CompletionStage<String> sick() {
    return sick.minimalCompletionStage();
  }

  @Override
  public void close() {
    closed.countDown();
  }
}
