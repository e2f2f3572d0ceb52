package dev.baton.device.cpu;

import org.jspecify.annotations.Nullable;

/**
 * The threads of one rank: the rank's own, and helpers that start with the first operation that is
 * worth sharing and end with {@link #close}. Says into how many parts an operation is cut; whoever
 * does a part, and in whatever order, its bits are the same (see {@code team.cpp}).
 */
final class CpuTeam implements AutoCloseable {

  /** The environment variable that sets the threads of each rank. */
  static final String VARIABLE = "BATON_THREADS";

  /** Bounds the share of the hand-over, about a microsecond, in the time of an operation. */
  static final long PART_NANOS = 8_000;

  /** More parts than threads, so that a thread which is held up holds up little. */
  private static final int PARTS_PER_THREAD = 4;

  /** Long operations have parts of about this: what the last one to end may keep others waiting. */
  private static final long LONG_PART_NANOS = 25_000;

  /** What the team's counter of parts holds. */
  private static final int MAX_PARTS = 65_535;

  private static final int MAX_THREADS = 256;

  private final int threads;
  private final long partNanos;
  private final long address;

  /**
   * @param threads with the rank's own
   * @param spin whether every thread can have a processor
   * @param partNanos the least work of a part
   */
  CpuTeam(int rank, int threads, boolean spin, long partNanos) {
    this.threads = threads;
    this.partNanos = partNanos;
    address = CpuKernels.openTeam(rank, threads - 1, spin);
  }

  /**
   * Threads of each of {@code ranks} ranks: what {@code setting} says, else the processors that
   * this process may use, divided among the ranks.
   *
   * @throws IllegalArgumentException when {@code setting} is no number from 1 to 256
   */
  static int threads(@Nullable String setting, int processors, int ranks) {
    if (setting == null || setting.isEmpty()) {
      return Math.clamp(processors / ranks, 1, MAX_THREADS);
    }
    if (!setting.matches("\\d{1,3}")
        || Integer.parseInt(setting) < 1
        || Integer.parseInt(setting) > MAX_THREADS) {
      throw new IllegalArgumentException(
          "%s: %s (expected: threads of each rank, 1 to %d)"
              .formatted(VARIABLE, setting, MAX_THREADS));
    }
    return Integer.parseInt(setting);
  }

  /** For the kernels. */
  long address() {
    return address;
  }

  /**
   * Parts for an operation of {@code units} that no two threads may cut, which takes one thread
   * about {@code nanos} nanoseconds; 1 = not worth sharing.
   */
  int parts(long units, long nanos) {
    if (threads == 1) {
      return 1;
    }
    long some = Math.min(nanos / partNanos, (long) threads * PARTS_PER_THREAD);
    long parts = Math.min(Math.max(some, nanos / LONG_PART_NANOS), MAX_PARTS);
    if (parts > threads) {
      parts -= parts % threads; // each thread begins with as many
    }
    return (int) Math.max(1, Math.min(parts, units));
  }

  /**
   * What the next product, or the one after it, will read, for threads that wait; see {@link
   * WeightOrder}.
   *
   * @param words its address, which stays as it is until the team is closed; 0 = unknown
   */
  void foresee(long words) {
    if (threads > 1) {
      CpuKernels.foresee(address, words);
    }
  }

  /** Ends the helpers; no operation may be running. */
  @Override
  public void close() {
    CpuKernels.closeTeam(address);
  }
}
