package dev.baton.worker.registry;

import java.time.Duration;
import java.util.random.RandomGenerator;

/**
 * Growing, jittered pauses between attempts: a random half to whole of a step that doubles up to a
 * limit, so that workers of a restarted router do not all come at once. One thread.
 */
final class Backoff {

  private final Duration first;
  private final Duration most;
  private final RandomGenerator random;
  private long stepMillis;

  Backoff(Duration first, Duration most, RandomGenerator random) {
    this.first = first;
    this.most = most;
    this.random = random;
    this.stepMillis = first.toMillis();
  }

  Duration next() {
    long step = stepMillis;
    stepMillis = Math.min(2 * step, most.toMillis());
    return Duration.ofMillis(step - random.nextLong(step / 2 + 1));
  }

  /** An attempt went well. */
  void reset() {
    stepMillis = first.toMillis();
  }
}
