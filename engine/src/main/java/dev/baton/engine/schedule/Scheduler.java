package dev.baton.engine.schedule;

import dev.baton.engine.cache.BlockLedger;
import dev.baton.engine.cache.BlockPool;
import dev.baton.engine.cache.SwapSpace;
import dev.baton.engine.schedule.Session.State;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Decides what runs in each step, who gets blocks, and who must give them back. Step thread only.
 * Long because filling a step, admission and preemption go by one order and one account, and are
 * only right together.
 */
public final class Scheduler {

  /*
   * How a step is filled
   *
   *   1. A session at the head of the queue that outranks running ones takes their place.
   *   2. Every session that decodes gets one token: their readers are waiting for the next word.
   *   3. Sessions in the middle of their prefill get chunks of the rest in order. Beside decodes the
   *      rest is what Pace allows, else the whole budget. While more than one prompt is there, one
   *      takes half of it at most, so that a short prompt is not behind all of a long one.
   *   4. While budget, slots and blocks are left, the head of the queue is admitted and gets its
   *      first chunk. What is left in the end goes to the prefills again, in order.
   *
   * Order is everywhere the same and a session's place in it never changes: it is due at the step of
   * its arrival, and AGING_STEPS * log2(1 + priority) steps earlier for its priority (later for a
   * negative one); so within a priority first come is first served, a larger priority goes before
   * what came not too long before it, and nobody is overtaken for ever. A preempted session keeps its
   * place, so it is back at the head of its priority.
   *
   * Admission. A session gets blocks for all tokens it has and the next one at once, so that a
   * prefill never stops halfway for want of blocks. One block for each running session that may
   * grow is left alone; else a newcomer would often be preempted in the next step. The queue waits
   * behind its head even if a smaller session would fit: whoever is at the head is next. A
   * reservation for a hand-off may not take the slot and the blocks that the head is waiting for.
   *
   * Preemption. When a decoding session needs a block and there is none, the last session in order
   * gives all its blocks back; at worst that is the session itself. When the head of the queue, or a
   * reservation, finds no slot or blocks, running sessions of lower priority and later in order do,
   * the last first, if together they make room. Prefill-only sessions are not preempted: their
   * blocks are being read by a hand-off, and they do not grow. What a preempted session has computed
   * is copied to the swap space when that costs less than to compute it again (Pace) and pages are
   * left; else it is computed again, as far as it is no longer in the prefix cache. Long contexts
   * are copied in pieces, away and back (Swapping).
   *
   * Why nothing starves. The order is total and fixed. The first session in it is never preempted by
   * another; it runs as soon as what does not come back by itself (blocks held after a prefill, or
   * reserved) comes back by release, which its owner owes. Its tokens are bounded and it was refused
   * at the door unless all of them fit the pool, so it ends; then another is the first. Before a
   * session of priority p come only those that arrive until AGING_STEPS * (log2(1 + P) - log2(1 + p))
   * steps after it, P being the largest priority in use: finitely many.
   *
   * Why sessions do not preempt each other in turns. A session is only ever preempted for one before
   * it in order, so no two do it to each other. And one that was preempted is back only when all that
   * it needs is available and one block more for each that grows: at least so many blocks must be
   * filled, of blockTokens tokens each, before a shortage can hit it again. If its KV takes longer
   * to come back than others to fill a block, it is as many blocks more.
   *
   * There are never more running sessions than tokens in a step, so every decoding session runs in
   * every step, and a prefilling one finds at least one token left.
   *
   * Prompt log probabilities. A row of logits is as long as the vocabulary, so a step has room for
   * one per session and few more. A prompt that is to be scored goes in chunks of what is left of
   * these, and sits a step out when others, earlier in order, have taken them all.
   */

  /**
   * So many steps a session of priority 1 goes before one of priority 0; of priority 3 twice as
   * many. A few minutes at ten steps a second: priorities are to matter as long as people wait.
   */
  static final int AGING_STEPS = 1024;

  private final BlockPool pool;
  private final Swapping swapping;
  private final Pace pace;
  private final int stepTokens;
  private final int prefillChunk;
  private final int slots;
  private final int scoredTokens;
  private final Consumer<Session> onLoss;
  private final TreeSet<Session> waiting = new TreeSet<>(Session::compare);
  private final List<Session> running = new ArrayList<>();
  private final StepPlan plan = new StepPlan();
  private long step;
  private int reservedSessions;
  private int growing;
  private long waitingTokens;
  private long preemptions;
  private long cachedTokens;

  /**
   * @param swap of the same sessions; the caller's
   * @param stepTokens most tokens of a step
   * @param prefillChunk most tokens of one session in a step; 0 = as many as there are, shared
   *     between prompts
   * @param maxSessions most sessions running at a time
   * @param logitRows most rows of logits of a step, more than maxSessions or at least stepTokens
   * @param onLoss hears of a session before blocks of it go to another
   */
  public Scheduler(
      BlockPool pool,
      SwapSpace swap,
      Pace pace,
      int stepTokens,
      int prefillChunk,
      int maxSessions,
      int logitRows,
      Consumer<Session> onLoss) {
    this.pool = pool;
    this.swapping = new Swapping(pool, swap, pace);
    this.pace = pace;
    this.stepTokens = stepTokens;
    this.prefillChunk = prefillChunk;
    this.slots = Math.min(maxSessions, stepTokens);
    this.onLoss = onLoss;
    this.scoredTokens = logitRows >= stepTokens ? stepTokens : logitRows - slots;
    if (scoredTokens < 1) {
      throw new IllegalArgumentException(
          "logitRows: %d (expected: more than %d sessions, or %d tokens)"
              .formatted(logitRows, slots, stepTokens));
    }
  }

  /** Whether the pool, empty, could carry the session to its end. */
  public boolean canEverFit(Session session) {
    return pool.blocksFor(session.mostPositions()) <= pool.capacity();
  }

  /** Puts a new session into the queue. */
  public void enqueue(Session session) {
    require(session, State.NEW);
    place(session);
    addWaiting(session);
  }

  /**
   * Gives a new session blocks for KV that comes by hand-off.
   *
   * @return false when there are no blocks or no slot now; nothing has changed then
   */
  public boolean reserve(Session session) {
    require(session, State.NEW);
    place(session);
    // What the queue's head is waiting for is not to be had past it.
    int slotsOwed = waiting.isEmpty() ? 0 : 1;
    int spare = reservedSessions + blocksOwed();
    if (!reserve(session, slotsOwed, spare)
        && !(makeRoom(session, slotsOwed, spare) && reserve(session, slotsOwed, spare))) {
      return false;
    }
    session.setState(State.RESERVED);
    reservedSessions++;
    return true;
  }

  /** Blocks that the queue's head waits for, beside one for each session that grows. */
  private int blocksOwed() {
    if (waiting.isEmpty()) {
      return 0;
    }
    Session head = waiting.first();
    return pool.blocksFor(head.positionsToAdmit()) + growing * swapping.growthWhileReturning(head);
  }

  private boolean reserve(Session session, int slotsOwed, int spare) {
    return hasSlot(slotsOwed) && fill(session, growing + spare, BlockLedger.State.RESERVED);
  }

  /**
   * Gives a new session a hold on what the prefix cache has of its context; it takes part in no
   * steps.
   *
   * @return tokens held, from the first on; 0 = none, and nothing has changed then
   */
  public int pin(Session session) {
    require(session, State.NEW);
    int pinned =
        pool.pin(
            session.table(),
            session.tokens(),
            session.length(),
            growing + reservedSessions + blocksOwed());
    if (pinned > 0) {
      session.restart(pinned, pinned);
      session.setState(State.HELD);
    }
    return pinned;
  }

  /**
   * The KV of a reserved session's context has arrived, and is for whoever finds it in the prefix
   * cache; the session can only end.
   *
   * @param from first token that has arrived
   */
  public void publish(Session session, int from) {
    require(session, State.RESERVED);
    pool.settle(session.table(), from);
    session.advance(session.length() - session.computed());
    pool.publish(session.table(), session.tokens(), session.computed());
    reservedSessions--;
    session.setState(State.HELD);
  }

  /**
   * The KV of a reserved session's context has arrived: it runs from now on.
   *
   * @param from first token that has arrived
   */
  public void start(Session session, int from) {
    require(session, State.RESERVED);
    pool.settle(session.table(), from);
    session.advance(session.length() - session.computed());
    pool.publish(session.table(), session.tokens(), session.computed());
    reservedSessions--;
    addRunning(session, State.RUNNING);
  }

  /** A prefill is done; the session keeps its blocks and takes part in no more steps. */
  public void hold(Session session) {
    require(session, State.RUNNING);
    removeRunning(session);
    swapping.forgetAhead(session);
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
    admitUrgent();
    boolean preempted = planDecodes();
    int budget = stepTokens;
    if (plan.totalTokens() > 0) {
      budget = Math.min(budget - plan.totalTokens(), pace.chunkBesideDecodes());
    }
    int cap = prefillChunk > 0 ? prefillChunk : several() ? Math.ceilDiv(budget, 2) : budget;
    planPrefills(budget, cap);
    swapping.begin(plan.decodes(), plan.prefillTokens());
    bringBack(budget, cap);
    // After a preemption the queue's head would take the very blocks that were short.
    if (!preempted || plan.size() == 0) {
      admit(budget, cap);
    }
    if (prefillChunk == 0) {
      shareRest(budget);
    }
    step += plan.size() == 0 ? 0 : 1;
    if (pool.available() < blocksToCome()) {
      swapping.copyAhead(lastGrowing(), growing);
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

  /** Preemptions whose KV was copied to the swap space, or had not come back from there yet. */
  public long swaps() {
    return swapping.swaps();
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
    int kept = 0;
    for (Session session : waiting) {
      require(session, State.WAITING);
      tokens += session.length() - session.computed();
      kept += session.computed() > 0 ? 1 : 0;
      swapping.check(session);
      if (session.table().count() != 0) {
        throw new IllegalStateException(
            "scheduler: %s holds blocks (expected: none)".formatted(session));
      }
    }
    int grow = 0;
    for (Session session : running) {
      boolean returning = session.state() == State.RETURNING;
      require(session, returning ? State.RETURNING : State.RUNNING);
      swapping.check(session);
      kept += returning ? 1 : 0;
      grow += session.grows() ? 1 : 0;
    }
    swapping.checkIntegrity(kept);
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
      if (session.state() == State.RETURNING || session.isPrefilling()) {
        next++;
        continue;
      }
      while (session.state() == State.RUNNING
          && !pool.extend(session.table(), session.computed(), session.length())) {
        if (!letGoOfKept()) {
          preempt(lastThatGrows());
          preempted = true;
        }
      }
      // A session that preempted itself has left the list; its successor is in its place.
      if (session.state() == State.RUNNING) {
        plan.add(session, 1);
        next++;
      }
    }
    return preempted;
  }

  /** Blocks that are kept for readers only come back before any session must. */
  private boolean letGoOfKept() {
    boolean any = false;
    for (int i = 0; i < running.size(); i++) {
      Session session = running.get(i);
      if (session.table().keeps()) {
        onLoss.accept(session);
        pool.letGo(session.table(), session.computed());
        any = true;
      }
    }
    return any;
  }

  private void planPrefills(int budget, int cap) {
    for (int i = 0; i < running.size() && plan.prefillTokens() < budget; i++) {
      Session session = running.get(i);
      if (session.state() == State.RUNNING && session.isPrefilling()) {
        planChunk(session, budget, cap);
      }
    }
  }

  private void bringBack(int budget, int cap) {
    for (int i = 0; i < running.size(); i++) {
      if (running.get(i).state() == State.RETURNING) {
        bringBack(running.get(i), budget, cap);
      }
    }
  }

  /** Brings what may be brought before this step; who is whole takes part in it. */
  private void bringBack(Session session, int budget, int cap) {
    if (!swapping.bring(session, plan.size() == 0)) {
      return;
    }
    session.setState(State.RUNNING);
    if (session.isPrefilling()) {
      planChunk(session, budget, cap);
    } else if (plan.totalTokens() < stepTokens) {
      plan.add(session, 1);
    }
  }

  /** More than one prompt wants a part of the step. */
  private boolean several() {
    int prompts = waiting.size();
    for (int i = 0; i < running.size() && prompts < 2; i++) {
      prompts += running.get(i).isPrefilling() ? 1 : 0;
    }
    return prompts > 1;
  }

  private void admit(int budget, int cap) {
    while (plan.prefillTokens() < budget
        && plan.totalTokens() < stepTokens
        && hasSlot(0)
        && !waiting.isEmpty()) {
      Session head = waiting.first();
      if (!admit(head, growing * (1 + swapping.growthWhileReturning(head)))) {
        return;
      }
      if (head.state() == State.RETURNING) {
        bringBack(head, budget, cap);
      } else {
        planChunk(head, budget, cap);
      }
    }
  }

  /** The head of the queue runs at once when sessions of lower priority can make room for it. */
  private void admitUrgent() {
    while (!waiting.isEmpty() && outranksSome(waiting.first())) {
      Session head = waiting.first();
      boolean admitted = hasSlot(0) && admit(head, growing);
      if (!admitted && !(makeRoom(head, 0, 0) && admit(head, growing))) {
        return;
      }
    }
  }

  private boolean outranksSome(Session head) {
    for (int i = running.size() - 1; i >= 0; i--) {
      if (Session.compare(running.get(i), head) < 0) {
        return false;
      }
      if (yieldsTo(running.get(i), head)) {
        return true;
      }
    }
    return false;
  }

  private boolean admit(Session session, int spare) {
    boolean away = session.computed() > 0;
    if (!fill(session, spare, BlockLedger.State.OWNED)) {
      return false;
    }
    addRunning(session, away && !swapping.isBack(session) ? State.RETURNING : State.RUNNING);
    return true;
  }

  /**
   * Preempts sessions of lower priority, if that gives the session a slot and blocks.
   *
   * @param spare blocks that must be left, beside one for each session that grows
   * @return whether there is room now; if not, nothing has changed
   */
  private boolean makeRoom(Session session, int slotsOwed, int spare) {
    int slotsShort = running.size() + reservedSessions + slotsOwed + 1 - slots;
    int need = pool.blocksFor(session.positionsToAdmit()) + growing + spare;
    int room = pool.available();
    int victims = 0;
    int next = running.size();
    while ((room < need || victims < slotsShort)
        && --next >= 0
        && Session.compare(session, running.get(next)) < 0) {
      if (yieldsTo(running.get(next), session)) {
        room += pool.freedBy(running.get(next).table());
        // It is itself no longer one of those that grow.
        need--;
        victims++;
      }
    }
    if (room < need || victims < slotsShort) {
      return false;
    }
    for (int last = running.size() - 1; victims > 0; last--) {
      if (yieldsTo(running.get(last), session)) {
        preempt(running.get(last));
        victims--;
      }
    }
    return true;
  }

  private static boolean yieldsTo(Session session, Session other) {
    return session.grows()
        && session.hasLowerPriorityThan(other)
        && Session.compare(other, session) < 0;
  }

  private boolean hasSlot(int owed) {
    return running.size() + reservedSessions + owed < slots;
  }

  /** Gives a session blocks: those of the prefix cache, and others for the rest. */
  private boolean fill(Session session, int spare, BlockLedger.State as) {
    boolean reserved = as == BlockLedger.State.RESERVED;
    int swapped = session.computed();
    int present =
        pool.fill(
            session.table(),
            session.tokens(),
            session.cacheableLength(),
            session.positionsToAdmit(),
            reserved ? session.length() : swapped,
            spare,
            as);
    if (present < 0) {
      return false;
    }
    if (session.state() == State.WAITING) {
      removeWaiting(session);
    }
    int unread = reserved ? session.table().first() : 0;
    int cached = (session.table().shared() - unread) * pool.blockTokens();
    if (session.restart(cached, Math.max(present, swapped))) {
      cachedTokens += cached;
    }
    return true;
  }

  private void planChunk(Session session, int budget, int cap) {
    int count = Math.min(chunk(session, 0, budget), cap);
    if (count > 0) {
      plan.add(session, count);
    }
  }

  /** Gives what is left of the budget to those that prefill, in order. */
  private void shareRest(int budget) {
    for (int i = 0; i < plan.size() && plan.prefillTokens() < budget; i++) {
      if (plan.session(i).isPrefilling()) {
        plan.grow(i, chunk(plan.session(i), plan.tokens(i), budget));
      }
    }
  }

  /** Tokens that the session can compute in this step after {@code planned} ones. */
  private int chunk(Session session, int planned, int budget) {
    // Claims nothing that the session does not have already, but for a window that moves on.
    pool.extend(session.table(), session.computed(), session.positionsToAdmit());
    int covered = session.table().count() * pool.blockTokens() - session.computed();
    int left = Math.min(session.length() - session.computed(), covered) - planned;
    int unused = Math.min(stepTokens - plan.totalTokens(), budget - plan.prefillTokens());
    return scorable(session, planned, Math.min(left, unused));
  }

  /** So many of the next {@code count} tokens as there are rows of logits left to score them. */
  private int scorable(Session session, int planned, int count) {
    if (session.promptLogprobs() == null) {
      return count;
    }
    int rows = scoredTokens - plan.scoredTokens();
    int from = session.computed() + planned;
    for (int i = 0; i < count; i++) {
      if (session.scores(from + i) && rows-- == 0) {
        return i;
      }
    }
    return count;
  }

  /** Blocks that the running sessions may yet take. */
  private long blocksToCome() {
    long blocks = 0;
    for (int i = 0; i < running.size(); i++) {
      Session session = running.get(i);
      blocks += Math.max(0, pool.blocksFor(session.mostPositions()) - session.table().count());
    }
    return blocks;
  }

  private Session lastThatGrows() {
    Session last = lastGrowing();
    if (last == null) {
      throw new IllegalStateException(
          "preempt: no session that grows (expected: at least the one that needs a block)");
    }
    return last;
  }

  private @Nullable Session lastGrowing() {
    for (int i = running.size() - 1; i >= 0; i--) {
      if (running.get(i).grows()) {
        return running.get(i);
      }
    }
    return null;
  }

  private void preempt(Session session) {
    removeRunning(session);
    onLoss.accept(session);
    if (!swapping.keep(session)) {
      session.reset();
    }
    pool.release(session.table());
    addWaiting(session);
    preemptions++;
  }

  private void place(Session session) {
    int priority = session.generation().priority();
    double level = Math.signum(priority) * Math.log(1.0 + Math.abs((long) priority)) / Math.log(2);
    session.setDue(step - Math.round(AGING_STEPS * level));
  }

  private void leave(Session session) {
    switch (session.state()) {
      case WAITING -> {
        removeWaiting(session);
        swapping.forget(session);
      }
      case RUNNING -> {
        removeRunning(session);
        swapping.forgetAhead(session);
      }
      case RETURNING -> {
        removeRunning(session);
        swapping.forget(session);
      }
      case RESERVED -> reservedSessions--;
      case HELD, NEW -> {}
      case ENDED ->
          throw new IllegalStateException("end: %s (expected: not ended yet)".formatted(session));
    }
    session.setState(State.ENDED);
  }

  private void addRunning(Session session, State state) {
    int place = Collections.binarySearch(running, session, Session::compare);
    running.add(-place - 1, session);
    session.setState(state);
    growing += session.grows() ? 1 : 0;
  }

  private void removeRunning(Session session) {
    running.remove(session);
    growing -= session.grows() ? 1 : 0;
  }

  private void addWaiting(Session session) {
    session.setState(State.WAITING);
    waiting.add(session);
    waitingTokens += session.length() - session.computed();
  }

  private void removeWaiting(Session session) {
    waiting.remove(session);
    waitingTokens -= session.length() - session.computed();
  }

  private static void require(Session session, State expected) {
    if (session.state() != expected) {
      throw new IllegalStateException("%s (expected: %s)".formatted(session, expected));
    }
  }
}
