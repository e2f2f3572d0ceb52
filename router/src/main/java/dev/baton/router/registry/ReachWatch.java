package dev.baton.router.registry;

/**
 * Whether the way from here to a worker works. A connection may stall, in one direction or both,
 * while the worker's own stream still brings its statuses: then tokens and requests wait, and
 * gRPC's keep-alive takes 11 s to notice. So the router asks over the connection of its calls,
 * after each status of a worker that has sessions. A question without an answer, though the worker
 * has reported since, tells a stall: after {@link #STALL_NANOS} in which nothing else came over the
 * connection either, or after {@link #DEAF_NANOS} when only the way there stalls, and tokens come.
 * Then the connection is cut, and the worker is out of reach until it answers over a new one.
 *
 * <p>That the worker has reported in the meantime is what tells a stalled connection from a process
 * that stands still or is short of processor time. Not thread-safe; {@link Worker} guards it.
 */
final class ReachWatch {

  static final long STALL_NANOS = 750_000_000L;

  static final long DEAF_NANOS = 2_000_000_000L;

  /** Statuses after the question: one may have been under way. */
  static final int STATUSES = 2;

  private boolean asked;
  private long askedNanos;
  private int statusesSince;
  private int question;
  private boolean outOfReach;

  /** Goes on from what was known of the same worker before it registered again. */
  void inherit(ReachWatch before) {
    outOfReach = before.outOfReach;
  }

  /**
   * Takes note of a status.
   *
   * @param needed calls to the worker are open
   * @return the number of a question to be asked now; 0 = none
   */
  int reported(boolean needed, long nowNanos) {
    if (asked) {
      statusesSince++;
      return 0;
    }
    if (!needed && !outOfReach) {
      return 0;
    }
    asked = true;
    askedNanos = nowNanos;
    statusesSince = 0;
    return ++question;
  }

  /**
   * The question has come to its end.
   *
   * @param answered by the worker; false when the connection broke, which its calls notice too
   * @return whether the worker is in reach again
   */
  boolean over(int which, boolean answered) {
    if (!asked || which != question) {
      return false;
    }
    asked = false;
    boolean back = answered && outOfReach;
    outOfReach &= !answered;
    return back;
  }

  /** Time in which nobody could have heard an answer does not count. */
  void excuse(long nanos, long nowNanos) {
    askedNanos = Math.min(nowNanos, askedNanos + nanos);
  }

  /**
   * For how long the connection has stalled; 0 = not, or known already.
   *
   * @param heardNanos when anything has come over it last
   */
  long stalledNanos(long nowNanos, long heardNanos) {
    long waited = nowNanos - askedNanos;
    boolean stalled =
        nowNanos - Math.max(askedNanos, heardNanos) > STALL_NANOS || waited > DEAF_NANOS;
    return asked && !outOfReach && statusesSince >= STATUSES && stalled ? waited : 0;
  }

  /** The connection is cut; answers over it count no more. */
  void cut() {
    outOfReach = true;
    asked = false;
  }

  boolean outOfReach() {
    return outOfReach;
  }
}
