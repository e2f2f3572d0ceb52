package dev.baton.engine.schedule;

import dev.baton.engine.cache.BlockLedger;
import dev.baton.engine.cache.BlockPool;
import dev.baton.engine.schedule.Session.State;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;

/**
 * Decides what runs in each step, who gets blocks, and who must give them back. Step thread only.
 */
public final class Scheduler {

  /*
   * How a step is filled
   *
   *   1. Every session that decodes gets one token: their readers are waiting for the next word.
   *   2. Sessions in the middle of their prefill get the rest of the budget in order, at most one
   *      chunk each.
   *   3. While budget, slots and blocks are left, the head of the queue is admitted and gets its
   *      first chunk.
   *
   * Order is everywhere the same: larger priority first, then earlier arrival. A preempted session
   * keeps its arrival, so it is back at the head of its priority.
   *
   * Admission. A session gets blocks for all tokens it has and the next one at once, so that a
   * prefill never stops halfway for want of blocks. One block for each running session that may
   * grow is left alone; else a newcomer would often be preempted in the next step. The queue waits
   * behind its head even if a smaller session would fit: whoever is at the head is next. A
   * reservation for a hand-off may not take the slot and the blocks that the head is waiting for.
   *
   * Preemption. When a decoding session needs a block and there is none, the last session in order
   * gives all its blocks back and later computes its KV again (its full blocks often still are in
   * the prefix cache); at worst that is the session itself. Prefill-only sessions are not
   * preempted: their blocks are being read by a hand-off, and they do not grow.
   *
   * Why nothing starves. The first session in order is never preempted by another; it ends, for its
   * tokens are bounded and it was refused at the door unless all of them fit the pool; then another
   * is the first. There are never more running sessions than tokens in a step, so every decoding
   * session runs in every step, and a prefilling one finds at least one token left. Blocks that do
   * not come back by themselves (held after a prefill, or reserved) come back by release, which
   * their owner owes.
   */

  private final BlockPool pool;
  private final int stepTokens;
  private final int prefillChunk;
  private final int slots;
  private final TreeSet<Session> waiting = new TreeSet<>(Session::compare);
  private final List<Session> running = new ArrayList<>();
  private final StepPlan plan = new StepPlan();
  private int reservedSessions;
  private int growing;
  private long waitingTokens;
  private long preemptions;
  private long cachedTokens;

  /**
   * @param stepTokens most tokens of a step
   * @param prefillChunk most tokens of one session in a step
   * @param maxSessions most sessions running at a time
   */
  public Scheduler(BlockPool pool, int stepTokens, int prefillChunk, int maxSessions) {
    this.pool = pool;
    this.stepTokens = stepTokens;
    this.prefillChunk = prefillChunk;
    this.slots = Math.min(maxSessions, stepTokens);
  }

  /** Whether the pool, empty, could carry the session to its end. */
  public boolean canEverFit(Session session) {
    return pool.blocksFor(session.mostPositions()) <= pool.capacity();
  }

  /** Puts a new session into the queue. */
  public void enqueue(Session session) {
    require(session, State.NEW);
    session.setState(State.WAITING);
    waiting.add(session);
    waitingTokens += session.length();
  }

  /**
   * Gives a new session blocks for KV that comes by hand-off.
   *
   * @return false when there are no blocks or no slot now; nothing has changed then
   */
  public boolean reserve(Session session) {
    require(session, State.NEW);
    // What the queue's head is waiting for is not to be had past it.
    int slotsOwed = waiting.isEmpty() ? 0 : 1;
    int blocksOwed = waiting.isEmpty() ? 0 : pool.blocksFor(waiting.first().positionsToAdmit());
    int spare = growing + reservedSessions + blocksOwed;
    if (running.size() + reservedSessions + slotsOwed >= slots
        || !fill(session, spare, BlockLedger.State.RESERVED)) {
      return false;
    }
    session.setState(State.RESERVED);
    reservedSessions++;
    return true;
  }

  /** The KV of a reserved session's context has arrived: it runs from now on. */
  public void start(Session session) {
    require(session, State.RESERVED);
    pool.settle(session.table());
    session.advance(session.length() - session.computed());
    pool.publish(session.table(), session.tokens(), session.computed());
    reservedSessions--;
    addRunning(session);
  }

  /** A prefill is done; the session keeps its blocks and takes part in no more steps. */
  public void hold(Session session) {
    require(session, State.RUNNING);
    removeRunning(session);
    session.setState(State.HELD);
  }

  /** Ends a session in any state and frees what it holds. */
  public void end(Session session) {
    leave(session);
    pool.release(session.table());
  }

  /** As {@link #end}, and nobody is to find the session's KV in the prefix cache. */
  public void endUntrusted(Session session) {
    leave(session);
    pool.releaseUntrusted(session.table());
  }

  /** Plans the next step. The plan is valid until the next call. */
  public StepPlan schedule() {
    plan.clear();
    boolean preempted = planDecodes();
    planPrefills();
    // After a preemption the queue's head would take the very blocks that were short.
    if (!preempted || plan.size() == 0) {
      admit();
    }
    return plan;
  }

  public int waitingSessions() {
    return waiting.size();
  }

  public int runningSessions() {
    return running.size();
  }

  public long preemptions() {
    return preemptions;
  }

  /** Tokens that sessions found in the prefix cache when they were first given blocks. */
  public long cachedTokens() {
    return cachedTokens;
  }

  /** Tokens of admitted and waiting sessions that are still to be computed before they decode. */
  public long queuedTokens() {
    long queued = waitingTokens;
    for (int i = 0; i < running.size(); i++) {
      Session session = running.get(i);
      if (session.isPrefilling()) {
        queued += session.length() - session.computed();
      }
    }
    return queued;
  }

  /** Checks queue and run list against the sessions' states; throws IllegalStateException. */
  public void checkIntegrity() {
    long tokens = 0;
    for (Session session : waiting) {
      require(session, State.WAITING);
      tokens += session.length();
      if (session.table().count() != 0) {
        throw new IllegalStateException(
            "scheduler: %s holds blocks (expected: none)".formatted(session));
      }
    }
    int grow = 0;
    for (Session session : running) {
      require(session, State.RUNNING);
      grow += session.grows() ? 1 : 0;
    }
    if (tokens != waitingTokens || grow != growing) {
      throw new IllegalStateException(
          "scheduler: %d waiting tokens, %d growing (expected: %d, %d, recounted)"
              .formatted(waitingTokens, growing, tokens, grow));
    }
  }

  private boolean planDecodes() {
    boolean preempted = false;
    int next = 0;
    while (next < running.size()) {
      Session session = running.get(next);
      if (session.isPrefilling()) {
        next++;
        continue;
      }
      while (session.state() == State.RUNNING && !pool.extend(session.table(), session.length())) {
        preempt(lastThatGrows());
        preempted = true;
      }
      // A session that preempted itself has left the list; its successor is in its place.
      if (session.state() == State.RUNNING) {
        plan.add(session, 1);
        next++;
      }
    }
    return preempted;
  }

  private void planPrefills() {
    for (int i = 0; i < running.size() && plan.totalTokens() < stepTokens; i++) {
      if (running.get(i).isPrefilling()) {
        planChunk(running.get(i));
      }
    }
  }

  private void admit() {
    while (plan.totalTokens() < stepTokens
        && running.size() + reservedSessions < slots
        && !waiting.isEmpty()) {
      Session head = waiting.first();
      if (!fill(head, growing, BlockLedger.State.OWNED)) {
        return;
      }
      removeWaiting(head);
      addRunning(head);
      planChunk(head);
    }
  }

  private boolean fill(Session session, int spare, BlockLedger.State as) {
    boolean filled =
        pool.fill(
            session.table(),
            session.tokens(),
            session.length(),
            session.positionsToAdmit(),
            spare,
            as);
    if (filled) {
      int cached = session.table().shared() * pool.blockTokens();
      if (session.restart(cached)) {
        cachedTokens += cached;
      }
    }
    return filled;
  }

  private void planChunk(Session session) {
    int left = session.length() - session.computed();
    plan.add(session, Math.min(left, Math.min(prefillChunk, stepTokens - plan.totalTokens())));
  }

  private Session lastThatGrows() {
    for (int i = running.size() - 1; i >= 0; i--) {
      if (running.get(i).grows()) {
        return running.get(i);
      }
    }
    throw new IllegalStateException(
        "preempt: no session that grows (expected: at least the one that needs a block)");
  }

  private void preempt(Session session) {
    removeRunning(session);
    pool.release(session.table());
    session.reset();
    session.setState(State.WAITING);
    waiting.add(session);
    waitingTokens += session.length();
    preemptions++;
  }

  private void leave(Session session) {
    switch (session.state()) {
      case WAITING -> removeWaiting(session);
      case RUNNING -> removeRunning(session);
      case RESERVED -> reservedSessions--;
      case HELD, NEW -> {}
      case ENDED ->
          throw new IllegalStateException("end: %s (expected: not ended yet)".formatted(session));
    }
    session.setState(State.ENDED);
  }

  private void addRunning(Session session) {
    int place = Collections.binarySearch(running, session, Session::compare);
    running.add(-place - 1, session);
    session.setState(State.RUNNING);
    growing += session.grows() ? 1 : 0;
  }

  private void removeRunning(Session session) {
    running.remove(session);
    growing -= session.grows() ? 1 : 0;
  }

  private void removeWaiting(Session session) {
    waiting.remove(session);
    waitingTokens -= session.length();
  }

  private static void require(Session session, State expected) {
    if (session.state() != expected) {
      throw new IllegalStateException("%s (expected: %s)".formatted(session, expected));
    }
  }
}
