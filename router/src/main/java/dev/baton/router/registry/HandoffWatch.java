package dev.baton.router.registry;

/**
 * Whether a worker's hand-offs come about. That one fails is an accident, and so is that many fail
 * at a time: a peer has died. But when {@link #FAILURES} in a row fail, each begun after the one
 * before had failed, then the worker cannot be reached by its peers, whatever else it does. It is
 * given no hand-off for a while then, and tried again: a circuit breaker, half open after {@link
 * #PAUSE_NANOS}, after twice as long when that try fails, and so on up to {@link #MOST_NANOS}.
 *
 * <p>A hand-off has two sides, and both are watched: the one that is well has others that succeed.
 * Not thread-safe; {@link Worker} guards it.
 */
final class HandoffWatch {

  static final int FAILURES = 3;
  static final long PAUSE_NANOS = 5_000_000_000L;
  static final long MOST_NANOS = 60_000_000_000L;

  private int failures;
  private long failedNanos;
  private boolean paused;
  private long resumeNanos;
  private long pauseNanos = PAUSE_NANOS;

  /** Goes on from what was known of the same worker before it registered again. */
  void inherit(HandoffWatch before) {
    failures = before.failures;
    failedNanos = before.failedNanos;
    paused = before.paused;
    resumeNanos = before.resumeNanos;
    pauseNanos = before.pauseNanos;
  }

  /**
   * A hand-off has failed.
   *
   * @param begunNanos when it began
   * @return for how long there is to be none from now on, in nanoseconds; 0 = go on
   */
  long failed(long begunNanos, long nowNanos) {
    if (paused || (failures > 0 && begunNanos - failedNanos < 0)) {
      return 0;
    }
    failures++;
    failedNanos = nowNanos;
    if (failures < FAILURES) {
      return 0;
    }
    long pause = pauseNanos;
    paused = true;
    resumeNanos = nowNanos + pause;
    pauseNanos = Math.min(MOST_NANOS, 2 * pause);
    return pause;
  }

  void arrived() {
    failures = 0;
    paused = false;
    pauseNanos = PAUSE_NANOS;
  }

  /**
   * Ends a pause whose time is over.
   *
   * @return whether it did
   */
  boolean resume(long nowNanos) {
    if (!paused || nowNanos - resumeNanos < 0) {
      return false;
    }
    paused = false;
    failures = FAILURES - 1;
    return true;
  }

  boolean paused() {
    return paused;
  }
}
