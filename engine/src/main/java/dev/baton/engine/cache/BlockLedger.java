package dev.baton.engine.cache;

import dev.baton.engine.Holding;
import dev.baton.engine.LedgerSnapshot;
import dev.baton.engine.SessionId;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * The account of every KV block: its state, and who holds it, since when, why. Every change of a
 * block goes through here, and one that the account does not allow throws {@link
 * IllegalStateException} naming block and session, before anything has changed. Step thread only.
 */
public final class BlockLedger {

  /*
   * How the account works
   *
   * States. A block is in exactly one of five:
   *
   *   FREE         nobody's; its content means nothing
   *   OWNED        one or more sessions read it; at most one of them writes it
   *   RESERVED     one session is promised it; a hand-off may write it at any time
   *   CACHED       nobody's, but its content is a published prefix
   *   QUARANTINED  an aborted transfer may still write it; nobody may have it
   *
   *      FREE --claim--> OWNED --release--> CACHED (published) or FREE
   *      FREE --claim--> RESERVED --settle--> OWNED
   *                      RESERVED --release--> FREE
   *                      RESERVED --quarantine--> QUARANTINED --endQuarantine--> FREE
   *      OWNED, CACHED --share--> OWNED
   *      CACHED --evict--> FREE
   *
   * Claims. A claim is one session's hold on one block. Sharing adds a claim, releasing takes
   * exactly that session's away, the last one to go decides the next state. Claims are kept by
   * name, not as a bare count: a count cannot tell a session that releases twice from two sessions
   * that release once, and the first of these would hand a block that is still read to somebody
   * else, which is wrong text.
   *
   * Invariants (checkIntegrity recounts them all):
   *   1. owned + reserved + cached + quarantined + free = capacity; a shared block counts once.
   *   2. OWNED has one claim or more, RESERVED has one, the other states have none.
   *   3. No session has two claims on a block.
   *   4. The stack of free blocks holds each FREE block once, and nothing else.
   *
   * Cost. The account is flat arrays by block number. Claiming allocates one small object per
   * block and reads the clock, so nothing per token; finding a session's claim walks the sessions
   * that share the block.
   */

  /** What a block is at the moment. */
  public enum State {
    FREE,
    OWNED,
    RESERVED,
    CACHED,
    QUARANTINED
  }

  /** Why a session holds a block. */
  public enum Reason {
    /** For the context that it brought. */
    CONTEXT,
    /** For tokens that it generated. */
    GROWTH,
    /** Its prefix was there already. */
    PREFIX,
    /** For KV that arrives by hand-off. */
    HANDOFF
  }

  /** One session's hold on one block. */
  private static final class Claim {
    final SessionId session;
    final long sinceNanos;
    final Reason reason;
    @Nullable Claim next;

    Claim(SessionId session, long sinceNanos, Reason reason, @Nullable Claim next) {
      this.session = session;
      this.sinceNanos = sinceNanos;
      this.reason = reason;
      this.next = next;
    }
  }

  private final State[] states;
  private final @Nullable Claim[] claims;
  private final int[] freeStack;
  private int everClaimed;
  private final int[] counts = new int[State.values().length];
  private final LongSupplier nanoTime;

  /**
   * @param nanoTime a clock that only rises, nanoseconds; claims are dated by it
   */
  public BlockLedger(int capacity, LongSupplier nanoTime) {
    if (capacity < 1) {
      throw new IllegalArgumentException("capacity: %d (expected: >= 1)".formatted(capacity));
    }
    this.nanoTime = nanoTime;
    states = new State[capacity];
    Arrays.fill(states, State.FREE);
    claims = new Claim[capacity];
    freeStack = new int[capacity];
    for (int i = 0; i < capacity; i++) {
      freeStack[i] = capacity - 1 - i;
    }
    counts[State.FREE.ordinal()] = capacity;
  }

  public int capacity() {
    return states.length;
  }

  public int count(State state) {
    return counts[state.ordinal()];
  }

  int count(int ordinal) {
    return counts[ordinal];
  }

  /** So many blocks, the ones of lowest numbers, have ever been claimed: new ones come in order. */
  int everClaimed() {
    return everClaimed;
  }

  public State state(int block) {
    return states[block];
  }

  /**
   * Gives a free block to a session.
   *
   * @param as OWNED or RESERVED
   * @return the block's number
   */
  public int claim(SessionId session, State as, Reason reason) {
    if (as != State.OWNED && as != State.RESERVED) {
      throw new IllegalStateException("claim: as %s (expected: OWNED or RESERVED)".formatted(as));
    }
    int free = count(State.FREE);
    if (free == 0) {
      throw new IllegalStateException(
          "claim: no free block for session %s (expected: asked only when there is one)"
              .formatted(session));
    }
    int block = freeStack[free - 1];
    everClaimed = Math.max(everClaimed, block + 1);
    move(block, as);
    claims[block] = new Claim(session, nanoTime.getAsLong(), reason, null);
    return block;
  }

  /** Adds a session to those that read a published block. */
  public void share(int block, SessionId session) {
    if (states[block] != State.OWNED && states[block] != State.CACHED) {
      throw refused("share", block, session, "an owned or cached block");
    }
    if (claimOf(block, session) != null) {
      throw refused("share", block, session, "a session that does not hold it yet");
    }
    claims[block] = new Claim(session, nanoTime.getAsLong(), Reason.PREFIX, claims[block]);
    move(block, State.OWNED);
  }

  /** The KV of a reserved block has arrived. */
  public void settle(int block, SessionId session) {
    requireReserved("settle", block, session);
    move(block, State.OWNED);
  }

  /**
   * Ends a session's hold.
   *
   * @param published the block's content is in the prefix cache, so it stays when nobody holds it
   * @return whether nobody holds it any more
   */
  public boolean release(int block, SessionId session, boolean published) {
    if (claimOf(block, session) == null) {
      throw refused("release", block, session, "a block that the session holds");
    }
    if (published && states[block] == State.RESERVED) {
      throw refused("release", block, session, "nothing published before the hand-off is complete");
    }
    removeClaim(block, session);
    if (claims[block] != null) {
      return false;
    }
    move(block, published ? State.CACHED : State.FREE);
    return true;
  }

  /** Gives up a cached block's content. */
  public void evict(int block) {
    if (states[block] != State.CACHED) {
      throw refused("evict", block, null, "a cached block");
    }
    move(block, State.FREE);
  }

  /** Ends a reservation whose block may still be written by a transfer that is being aborted. */
  public void quarantine(int block, SessionId session) {
    requireReserved("quarantine", block, session);
    removeClaim(block, session);
    move(block, State.QUARANTINED);
  }

  /** No transfer can touch the block any more. */
  public void endQuarantine(int block) {
    if (states[block] != State.QUARANTINED) {
      throw refused("endQuarantine", block, null, "a quarantined block");
    }
    move(block, State.FREE);
  }

  public LedgerSnapshot snapshot() {
    return new LedgerSnapshot(
        count(State.OWNED),
        count(State.RESERVED),
        count(State.CACHED),
        count(State.QUARANTINED),
        count(State.FREE),
        capacity(),
        0);
  }

  /** Who holds blocks, and why: a line for each session and reason. Walks all blocks. */
  public List<Holding> holdings() {
    Map<SessionId, Holding[]> lines = new LinkedHashMap<>();
    for (Claim first : claims) {
      for (Claim claim = first; claim != null; claim = claim.next) {
        Holding[] bySession =
            lines.computeIfAbsent(claim.session, _ -> new Holding[Reason.values().length]);
        int line = claim.reason.ordinal();
        Holding known = bySession[line];
        bySession[line] =
            known == null
                ? new Holding(
                    claim.session, Holding.Kind.BLOCK, claim.reason.name(), 1, claim.sinceNanos)
                : known.plus(1, claim.sinceNanos);
      }
    }
    return lines.values().stream().flatMap(Arrays::stream).filter(Objects::nonNull).toList();
  }

  public boolean holds(SessionId session, int block) {
    return claimOf(block, session) != null;
  }

  /** Sessions that hold the block. */
  public int holders(int block) {
    int count = 0;
    for (Claim claim = claims[block]; claim != null; claim = claim.next) {
      count++;
    }
    return count;
  }

  /** Recounts everything; throws IllegalStateException on the first difference. */
  public void checkIntegrity() {
    int[] recount = new int[counts.length];
    for (int block = 0; block < states.length; block++) {
      recount[states[block].ordinal()]++;
      checkClaims(block);
    }
    for (State state : State.values()) {
      if (recount[state.ordinal()] != count(state)) {
        throw new IllegalStateException(
            "ledger: %d blocks counted as %s (expected: %d, recounted)"
                .formatted(count(state), state, recount[state.ordinal()]));
      }
    }
    boolean[] stacked = new boolean[states.length];
    for (int i = 0; i < count(State.FREE); i++) {
      int block = freeStack[i];
      if (stacked[block] || states[block] != State.FREE) {
        throw new IllegalStateException(
            "ledger: free stack holds %s (expected: each free block once)"
                .formatted(describe(block)));
      }
      stacked[block] = true;
    }
  }

  private void checkClaims(int block) {
    int holders = holders(block);
    boolean right =
        switch (states[block]) {
          case OWNED -> holders >= 1;
          case RESERVED -> holders == 1;
          case FREE, CACHED, QUARANTINED -> holders == 0;
        };
    for (Claim claim = claims[block]; claim != null; claim = claim.next) {
      for (Claim other = claim.next; other != null; other = other.next) {
        right &= !claim.session.equals(other.session);
      }
    }
    if (!right) {
      throw new IllegalStateException(
          "ledger: %s (expected: holders that fit its state)".formatted(describe(block)));
    }
  }

  /** Block, state and holders, for messages. */
  public String describe(int block) {
    StringBuilder text = new StringBuilder("block %d %s".formatted(block, states[block]));
    String separator = ", held by ";
    for (Claim claim = claims[block]; claim != null; claim = claim.next) {
      text.append(separator)
          .append(
              "%s for %.3f s as %s"
                  .formatted(
                      claim.session,
                      (nanoTime.getAsLong() - claim.sinceNanos) / 1e9,
                      claim.reason));
      separator = " and ";
    }
    return text.toString();
  }

  private void move(int block, State to) {
    State from = states[block];
    if (from == to) {
      return;
    }
    counts[from.ordinal()]--;
    if (to == State.FREE) {
      freeStack[counts[State.FREE.ordinal()]] = block;
    }
    counts[to.ordinal()]++;
    states[block] = to;
  }

  private @Nullable Claim claimOf(int block, SessionId session) {
    Claim claim = claims[block];
    while (claim != null && !claim.session.equals(session)) {
      claim = claim.next;
    }
    return claim;
  }

  private void removeClaim(int block, SessionId session) {
    Claim previous = null;
    for (Claim claim = claims[block]; claim != null; claim = claim.next) {
      if (claim.session.equals(session)) {
        if (previous == null) {
          claims[block] = claim.next;
        } else {
          previous.next = claim.next;
        }
        return;
      }
      previous = claim;
    }
  }

  private void requireReserved(String what, int block, SessionId session) {
    if (states[block] != State.RESERVED || claimOf(block, session) == null) {
      throw refused(what, block, session, "a block reserved for the session");
    }
  }

  private IllegalStateException refused(
      String what, int block, @Nullable SessionId session, String expected) {
    String by = session == null ? "" : " by session " + session;
    return new IllegalStateException(
        "%s: %s%s (expected: %s)".formatted(what, describe(block), by, expected));
  }
}
