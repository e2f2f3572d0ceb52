package dev.baton.worker.step;

/**
 * For how long a worker that has sessions has shown no sign of work: no progress, no answer of the
 * step thread, and no thread that computes has had a processor or waited for one. A long kernel and
 * a machine that is short of processors make no progress for a while either, but their threads run,
 * or would if they could; those of a worker that hangs sleep. So this may say so much sooner than
 * progress alone. A worker that hangs while it spins is left to progress.
 *
 * <p>No clock and no threads of its own; not thread-safe.
 */
public final class Standstill {

  /** Between two looks; what is more was a pause of the whole process, and tells nothing. */
  static final long LONGEST_LOOK_NANOS = 300_000_000;

  private long progress = -1;
  private long beats = -1;
  private long lookedNanos;
  private long nanos;

  /**
   * Looks again; a few times a second.
   *
   * @param busy sessions are here, so that something must happen
   * @param progress rises with what the engine gets done
   * @param beats rises with the step thread's answers
   * @param worked threads that compute have worked since the last look, or nobody knows
   * @return how long there has been no sign
   */
  public long look(boolean busy, long progress, long beats, boolean worked, long nowNanos) {
    boolean sign = !busy || worked || progress != this.progress || beats != this.beats;
    long since = Math.min(nowNanos - lookedNanos, LONGEST_LOOK_NANOS);
    nanos = sign ? 0 : nanos + since;
    this.progress = progress;
    this.beats = beats;
    lookedNanos = nowNanos;
    return nanos;
  }
}
