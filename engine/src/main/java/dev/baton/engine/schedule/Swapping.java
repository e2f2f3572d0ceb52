package dev.baton.engine.schedule;

import dev.baton.engine.cache.BlockPool;
import dev.baton.engine.cache.SwapSpace;
import dev.baton.engine.schedule.Session.State;
import org.jspecify.annotations.Nullable;

/**
 * Whose KV is copied to the swap space and back for the {@link Scheduler}, and how much of it
 * between two steps. Step thread only.
 */
final class Swapping {

  /*
   * A long context takes as long to copy as some steps, and all would wait for it.
   *
   * Away. When blocks are about to run out, the full blocks of the session that is next to be
   * preempted are copied ahead, some between any two steps, while it goes on; then only the rest is
   * left to copy. A preemption for a larger priority comes without such notice.
   *
   * Back. A session gets all its blocks at once and is RETURNING while its KV comes, some before
   * each step: it takes part in no steps, so nothing of it is published. Its pages stay until the
   * last one is in its blocks; if it loses these before, it waits as it did, and all comes again. A
   * session that nobody waits for but those that are not admitted yet has everything at once.
   *
   * Both share what is copied between two steps, the way back goes first: whoever returns holds
   * blocks that others could use. Of those that return the first in order has it all until it is
   * whole, and each step brings at least one block, so none is overtaken for ever.
   */

  /**
   * A copy ahead begins so many times earlier than it must if blocks go as they are expected to.
   */
  private static final int AHEAD = 2;

  private final BlockPool pool;
  private final SwapSpace swap;
  private final Pace pace;
  private int left;
  private long swaps;

  /** Whose blocks are being copied ahead of its preemption; it is running. */
  private @Nullable Session ahead;

  Swapping(BlockPool pool, SwapSpace swap, Pace pace) {
    this.pool = pool;
    this.swap = swap;
    this.pace = pace;
  }

  /** Preemptions whose KV was copied away, or had not come back yet. */
  long swaps() {
    return swaps;
  }

  /** A step of so many decodes and prefill tokens comes: before it so much may be copied. */
  void begin(int decodes, int prefillTokens) {
    left = pace.copiesBefore(decodes, prefillTokens, swap.pageBytes());
  }

  /**
   * A session that is about to lose its blocks: its KV is kept if copying costs less than computing
   * and pages are left.
   *
   * @return whether it is; else nothing of the session is here
   */
  boolean keep(Session session) {
    if (session.state() == State.RETURNING) {
      swap.bringAnew(session.id());
      swaps++;
      return true;
    }
    if (ahead != null && ahead != session) {
      forgetAhead(ahead);
    }
    int computed = session.computed();
    boolean kept =
        pace.copyIsCheaper(swap.bytesFor(session.table(), computed), computed)
            && swap.keep(session.table(), computed);
    if (kept) {
      swaps++;
      ahead = null;
    } else {
      forgetAhead(session);
    }
    return kept;
  }

  /** Whether a session whose KV was away has found all of it in the prefix cache. */
  boolean isBack(Session session) {
    swap.bring(session.table(), 0);
    return swap.tokens(session.id()) == 0;
  }

  /**
   * Copies KV of a session that has got blocks back into them.
   *
   * @param atOnce all of it; else what may be copied before this step
   * @return whether all is there
   */
  boolean bring(Session session, boolean atOnce) {
    left -= swap.bring(session.table(), atOnce ? Integer.MAX_VALUE : Math.max(0, left));
    return swap.tokens(session.id()) == 0;
  }

  /**
   * Blocks that a session which grows may come to need while the KV of a waiting one comes back.
   */
  int growthWhileReturning(Session waiting) {
    int blocks = pool.blocksFor(waiting.computed());
    return blocks / pace.copiesBetweenSteps(swap.pageBytes()) / pool.blockTokens();
  }

  /**
   * Copies some blocks ahead, if the preemption is near.
   *
   * @param next who is next to be preempted
   * @param growing sessions that take blocks
   */
  void copyAhead(@Nullable Session next, int growing) {
    if (next == null
        || next.state() == State.RETURNING
        || left <= 0
        || swap.capacity() == 0
        || pool.window().size() > 0) {
      return;
    }
    int computed = next.computed();
    int toCopy = swap.leftToCopy(next.table(), computed);
    int atOnce = pace.copiesBetweenSteps(swap.pageBytes());
    // What can be copied at once is, when its session is preempted.
    if (toCopy <= 0 || (next != ahead && toCopy <= atOnce)) {
      return;
    }
    long stepsToCopy = Math.ceilDiv(toCopy, atOnce);
    long stepsLeft = (long) pool.available() * pool.blockTokens() / growing;
    if (stepsLeft > AHEAD * stepsToCopy
        || !pace.copyIsCheaper(swap.bytesFor(next.table(), computed), computed)) {
      return;
    }
    if (ahead != null && ahead != next) {
      forgetAhead(ahead);
    }
    ahead = next;
    swap.copyAhead(next.table(), computed, Math.min(left, atOnce));
  }

  /** The session goes on to its end, or is gone. */
  void forgetAhead(Session session) {
    if (ahead == session) {
      swap.forget(session.id());
      ahead = null;
    }
  }

  /** The session is gone, and was waiting for its KV or on its way back. */
  void forget(Session session) {
    swap.forget(session.id());
  }

  /** Checks one session's copies against its state; throws IllegalStateException. */
  void check(Session session) {
    boolean kept = session.state() == State.WAITING || session.state() == State.RETURNING;
    int expected = kept ? session.computed() : 0;
    if (swap.tokens(session.id()) != expected) {
      throw new IllegalStateException(
          "scheduler: %s has %d tokens in swap space (expected: %d)"
              .formatted(session, swap.tokens(session.id()), expected));
    }
    if (swap.isPartlyBack(session.id()) && session.state() != State.RETURNING) {
      throw new IllegalStateException(
          "scheduler: %s is partly back (expected: not before it has blocks)".formatted(session));
    }
  }

  /**
   * Checks that nobody else has copies; throws IllegalStateException.
   *
   * @param kept sessions that should have all of theirs
   */
  void checkIntegrity(int kept) {
    swap.checkIntegrity();
    if (ahead != null && ahead.state() != State.RUNNING) {
      throw new IllegalStateException("scheduler: ahead %s (expected: RUNNING)".formatted(ahead));
    }
    if (swap.sessionsAhead() > (ahead == null ? 0 : 1)) {
      throw new IllegalStateException(
          "scheduler: %d sessions copied ahead (expected: at most %s)"
              .formatted(swap.sessionsAhead(), ahead));
    }
    if (swap.sessions() != kept) {
      throw new IllegalStateException(
          "scheduler: %d sessions in swap space (expected: the %d whose KV is away)"
              .formatted(swap.sessions(), kept));
    }
  }
}
