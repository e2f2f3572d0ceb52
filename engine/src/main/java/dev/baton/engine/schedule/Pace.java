package dev.baton.engine.schedule;

/**
 * What steps and copies cost on this machine, learned from those that were run; nothing here
 * touches a token, only when it comes. All times in nanoseconds. Step thread only.
 */
public final class Pace {

  /*
   * A step in which nobody decodes may take the whole budget: many rows are what the matrix units
   * want. Beside sessions that decode, a prefill makes every reader wait, so its chunk is as long
   * as fits a bound on the step's time. The bound is the option's; but a prefill is given at least
   * as long as the decodes alone take, and LEAST_CHUNK tokens, so that it always moves on.
   *
   * Learned are: the time of a step that only decodes; a prefill token's time alone; and beside
   * decodes, what such a step takes longer than the decodes alone. Each is a moving average, so that
   * it follows longer contexts, other batches and a machine that is busy elsewhere. A chunk is at
   * most twice the one before: a lucky measurement must not cost a reader a long pause.
   */

  /** Bounds from below what a prefill gets beside decodes. */
  public static final int LEAST_CHUNK = 32;

  /** Until a copy has been measured: a modest core's rate, bytes a nanosecond. */
  private static final double FIRST_COPY_RATE = 2;

  private static final double FOLLOW = 0.25;

  /** What copies to and from the swap space may add to a step, however short it is. */
  private static final double COPY_NANOS = 2e6;

  /** What copies from the swap space may add to a longer step: such a part of its time. */
  private static final double COPY_PART = 1.0 / 8;

  /** Steps of fewer prefill tokens say little about a token's time. */
  private static final int TELLING_TOKENS = 16;

  private final double stepNanos;
  private double decodeNanos;
  private double tokenNanos;
  private double besideNanos;
  private double copyRate = FIRST_COPY_RATE;
  private int lastBeside = LEAST_CHUNK;

  /**
   * @param maxStepMillis what a step with decodes should take at most; 0 = no bound
   */
  public Pace(int maxStepMillis) {
    stepNanos = maxStepMillis * 1e6;
  }

  /** A step was run; one that took no time, by a clock that stood still, says nothing. */
  public void ran(int decodes, int prefillTokens, long nanos) {
    if (nanos <= 0) {
      return;
    }
    if (prefillTokens == 0) {
      decodeNanos = follow(decodeNanos, nanos);
    } else if (decodes == 0) {
      if (prefillTokens >= TELLING_TOKENS || tokenNanos == 0) {
        tokenNanos = follow(tokenNanos, (double) nanos / prefillTokens);
      }
    } else {
      lastBeside = prefillTokens;
      if (prefillTokens >= TELLING_TOKENS || besideNanos == 0) {
        besideNanos =
            follow(besideNanos, Math.max(1, nanos - decodeNanos) / Math.max(1, prefillTokens));
      }
    }
  }

  /** Which part of such a step's time its prefill tokens take. */
  double prefillPart(int decodes, int prefillTokens) {
    if (prefillTokens == 0 || decodes == 0) {
      return prefillTokens == 0 ? 0 : 1;
    }
    double prefills = prefillTokens * (besideNanos > 0 ? besideNanos : tokenNanos);
    double all = prefills + decodeNanos;
    return all > 0 ? prefills / all : (double) prefillTokens / (prefillTokens + decodes);
  }

  /** KV was copied between blocks and host memory. */
  public void copied(long bytes, long nanos) {
    copyRate = follow(copyRate, (double) bytes / Math.max(1, nanos));
  }

  /** How many pieces of so many bytes to copy between two steps, which wait for it. */
  int copiesBetweenSteps(long bytes) {
    return copies(COPY_NANOS, bytes);
  }

  /**
   * The same before a step of so many decodes and prefill tokens. A session waits for these copies,
   * and while it does, nobody else can use its blocks: beside long steps they are not to take for
   * ever.
   */
  int copiesBefore(int decodes, int prefillTokens, long bytes) {
    double each = decodes > 0 && besideNanos > 0 ? besideNanos : tokenNanos;
    double nanos = (decodes > 0 ? decodeNanos : 0) + prefillTokens * each;
    return copies(Math.max(COPY_NANOS, COPY_PART * nanos), bytes);
  }

  private int copies(double nanos, long bytes) {
    return (int) Math.max(1, nanos * copyRate / bytes);
  }

  /** Prefill tokens that a step may take beside others that decode. */
  public int chunkBesideDecodes() {
    if (stepNanos == 0) {
      return Integer.MAX_VALUE;
    }
    double each = besideNanos > 0 ? besideNanos : tokenNanos;
    if (each == 0) {
      return LEAST_CHUNK;
    }
    double room = Math.max(stepNanos - decodeNanos, decodeNanos);
    return (int) Math.max(LEAST_CHUNK, Math.min(room / each, 2.0 * lastBeside));
  }

  /** Whether to copy KV away and back costs less than to compute it again. */
  public boolean copyIsCheaper(long bytes, int tokens) {
    double each = tokenNanos > 0 ? tokenNanos : besideNanos;
    return each == 0 || 2 * bytes / copyRate <= tokens * each;
  }

  private static double follow(double known, double seen) {
    return known == 0 ? seen : known + FOLLOW * (seen - known);
  }
}
