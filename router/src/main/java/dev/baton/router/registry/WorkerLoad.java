package dev.baton.router.registry;

import dev.baton.proto.worker.v1.WorkerStatus;
import org.jspecify.annotations.Nullable;

/**
 * What a worker has to do, as well as the router can know: the worker's latest status plus what
 * this router has sent and that status cannot count yet.
 *
 * <p>A status may have left the worker before a session reached it. So a charge is added on top of
 * the second-next status at the latest: charges live in two generations, and each status drops the
 * older one. A status that already counts a young charge makes it count twice for one interval,
 * which errs to the safe side. Not thread-safe; {@link Worker} guards it.
 */
final class WorkerLoad {

  /** More than any worker can mean; keeps sums of hostile counts from turning negative. */
  private static final long MOST = 1L << 40;

  private final long[] tokens = new long[2];
  private final long[] sessions = new long[2];
  private int generation;
  private int openSessions;
  private @Nullable WorkerStatus status;

  /** Takes the worker's next status. */
  void report(WorkerStatus next) {
    status = next;
    generation++;
    tokens[generation & 1] = 0;
    sessions[generation & 1] = 0;
  }

  @Nullable WorkerStatus status() {
    return status;
  }

  /**
   * Counts a session that is about to be sent.
   *
   * @return the generation, to be given back to {@link #release}
   */
  int charge(int promptTokens) {
    tokens[generation & 1] += promptTokens;
    sessions[generation & 1]++;
    openSessions++;
    return generation;
  }

  /** Uncounts a session that has left the worker. */
  void release(int chargedIn, int promptTokens) {
    openSessions--;
    if (generation - chargedIn < 2) {
      tokens[chargedIn & 1] -= promptTokens;
      sessions[chargedIn & 1]--;
    }
  }

  /** Blocks that a new session could have, free or evictable; {@code capacity} until told. */
  long availableBlocks(long capacity) {
    return status == null
        ? capacity
        : Math.clamp(status.getLedger().getFree(), 0, MOST)
            + Math.clamp(status.getLedger().getCached(), 0, MOST);
  }

  /** Sessions of this router on the worker now. */
  int openSessions() {
    return openSessions;
  }

  /** Prompt tokens before a session that would be sent now. */
  long queuedPromptTokens() {
    long reported = status == null ? 0 : Math.clamp(status.getQueuedPromptTokens(), 0, MOST);
    return reported + tokens[0] + tokens[1];
  }

  /** Sessions beside a session that would be sent now. */
  long sessions() {
    long reported =
        status == null
            ? 0
            : Math.max(0L, status.getRunningSessions()) + Math.max(0L, status.getWaitingSessions());
    return Math.max(openSessions, reported + sessions[0] + sessions[1]);
  }
}
