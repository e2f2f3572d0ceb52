package dev.baton.worker.ledger;

import dev.baton.engine.SessionId;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Finds what is held for sessions that no call has any more. Whoever holds something owes it to a
 * call, and the end of the call frees it; what outlives its call by more than it may is a leak. It
 * is named in the log once, and stays in the account until it is given back: giving it to another
 * session could be worse than losing it.
 *
 * <p>Looks at what it is shown, has no thread or clock of its own. Not thread-safe.
 */
public final class LeakWatch {

  private static final Logger log = LoggerFactory.getLogger(LeakWatch.class);

  /** Who answers for a session. */
  public enum Claimant {
    /** An open call. */
    CALL,
    /** Its call has ended; it waits for the last word of a transfer. */
    ENDING,
    /** It has left, or was never here. */
    NOBODY
  }

  /**
   * Three leases of a hand-off and a bit: the longest that a transfer takes to say its last word.
   */
  static final Duration ENDING = Duration.ofSeconds(45);

  /** A connection that stands still is closed after 3 s, what it held given up after 6 s. */
  static final Duration SLABS = Duration.ofSeconds(15);

  private record Key(SessionId session, Holding.What what, String reason) {}

  /** Since when nobody, or only an ended call, answers for something. */
  private static final class Suspicion {
    final Claimant claimant;
    final long since;
    boolean told;

    Suspicion(Claimant claimant, long since) {
      this.claimant = claimant;
      this.since = since;
    }
  }

  private Map<Key, Suspicion> suspicions = new HashMap<>();
  private long found;

  /**
   * Who answers for sessions now.
   *
   * @param calls by the session; true = its call has ended
   */
  public record Claimants(Map<SessionId, Boolean> calls) {

    Claimant of(Holding held) {
      Boolean ended = calls.get(held.session());
      if (ended == null && held.what().slabs()) {
        // A session that moves is exported under the epoch of the attempt that takes it over.
        ended =
            calls.entrySet().stream()
                .filter(call -> call.getKey().id().equals(held.session().id()))
                .map(Map.Entry::getValue)
                .reduce(Boolean::logicalAnd)
                .orElse(null);
      }
      return ended == null ? Claimant.NOBODY : ended ? Claimant.ENDING : Claimant.CALL;
    }
  }

  /**
   * Looks at the account.
   *
   * @param holdings all of this instant
   * @return what is leaked, the oldest first
   */
  public List<Holding> look(List<Holding> holdings, Claimants claimants, long nowNanos) {
    Map<Key, Suspicion> now = new HashMap<>();
    List<Holding> leaks = new ArrayList<>();
    for (Holding held : holdings) {
      Claimant claimant = claimants.of(held);
      if (claimant != Claimant.CALL) {
        Key key = new Key(held.session(), held.what(), held.reason());
        Suspicion before = suspicions.get(key);
        Suspicion suspicion =
            before != null && before.claimant == claimant
                ? before
                : new Suspicion(claimant, nowNanos);
        now.put(key, suspicion);
        if (nowNanos - suspicion.since >= graceNanos(claimant, held.what())) {
          leaks.add(held);
          tell(held, suspicion, nowNanos);
        }
      }
    }
    suspicions = now;
    leaks.sort(Comparator.comparingLong(Holding::sinceNanos));
    return leaks;
  }

  private static long graceNanos(Claimant claimant, Holding.What what) {
    return switch (claimant) {
      case CALL -> Long.MAX_VALUE;
      case ENDING -> ENDING.toNanos();
      case NOBODY -> what.slabs() ? SLABS.toNanos() : 0;
    };
  }

  private void tell(Holding held, Suspicion suspicion, long nowNanos) {
    if (!suspicion.told) {
      suspicion.told = true;
      found++;
      log.error(
          "leak: {} (expected: nothing, {})",
          held.describe(nowNanos),
          suspicion.claimant == Claimant.NOBODY ? "no call has the session" : "its call has ended");
    }
  }

  /** Leaks found since the start, those given back since included. */
  public long found() {
    return found;
  }

  /** Something is held that nobody answers for, or only an ended call. */
  public boolean suspects() {
    return !suspicions.isEmpty();
  }
}
