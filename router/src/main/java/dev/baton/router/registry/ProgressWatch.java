package dev.baton.router.registry;

import dev.baton.proto.worker.v1.WorkerStatus;

/**
 * Whether a worker gets anything done. A process may answer, report and accept sessions while its
 * steps stand still; so its health is what it shows for the sessions it has: steps and layers while
 * sessions run, else the step thread's answers to the canary that every status sends.
 *
 * <p>How long it may stand still: {@link #LEAST_NANOS}, or {@link #FACTOR} times the longest time
 * it was ever seen to take, if that is more. A worker may tell whether the threads that compute are
 * at it. Then a step that takes its time, be it long or the machine busy, has {@link
 * #WORKING_NANOS}, and one whose threads sleep no more than {@link #ASLEEP_MILLIS}. One that tells
 * nothing of its progress is trusted. What it took while it was fenced does not count. Not
 * thread-safe; {@link Worker} guards it.
 */
final class ProgressWatch {

  static final long LEAST_NANOS = 2_000_000_000L;
  static final long WORKING_NANOS = 15_000_000_000L;
  static final int FACTOR = 4;

  /** More than two intervals of statuses, so that three must have told the same. */
  static final long ASLEEP_MILLIS = 500;

  private long progress;
  private long beats;
  private long beatsAtAdvance;
  private long advancedNanos;
  private long longestNanos;
  private boolean asleep;
  private boolean inStep;
  private boolean fenced;

  ProgressWatch(long nowNanos) {
    advancedNanos = nowNanos;
  }

  /** Goes on from what was known of the same worker before it registered again. */
  void inherit(ProgressWatch before) {
    progress = before.progress;
    beats = before.beats;
    longestNanos = before.longestNanos;
    fenced = before.fenced;
  }

  /**
   * Takes a status.
   *
   * @param busy sessions are there, so that something must happen
   * @return whether it ends a fence
   */
  boolean report(WorkerStatus status, boolean busy, long nowNanos) {
    boolean stepped = status.getProgress() != progress || status.getProgress() == 0;
    boolean answered = status.getBeats() != beats && status.getRunningSessions() <= 0;
    boolean freed = fenced && (stepped || answered);
    if (stepped || answered || !busy) {
      if (busy && !fenced) {
        longestNanos = Math.max(longestNanos, nowNanos - advancedNanos);
      }
      advancedNanos = nowNanos;
      beatsAtAdvance = status.getBeats();
    }
    if (freed) {
      fenced = false;
    }
    progress = status.getProgress();
    beats = status.getBeats();
    asleep = status.getAsleepMillis() >= ASLEEP_MILLIS;
    // One answer may have been under way when the step began; a thread that gives more is in none.
    inStep = status.hasAsleepMillis() && beats - beatsAtAdvance <= 1;
    return freed;
  }

  /** Time in which nobody could have heard of progress does not count. */
  void excuse(long nanos, long nowNanos) {
    advancedNanos = Math.min(nowNanos, advancedNanos + nanos);
  }

  /** Has stood still for too long, and is not fenced for it yet. */
  boolean stuck(long nowNanos) {
    long most = Math.max(inStep ? WORKING_NANOS : LEAST_NANOS, FACTOR * longestNanos);
    return !fenced && (asleep || nowNanos - advancedNanos > most);
  }

  long standsNanos(long nowNanos) {
    return nowNanos - advancedNanos;
  }

  void fence() {
    fenced = true;
  }

  boolean fenced() {
    return fenced;
  }
}
