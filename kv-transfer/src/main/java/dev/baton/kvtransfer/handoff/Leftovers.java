package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.transport.Connection;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Slabs of hand-offs that have ended while the network still used them: sends that the peer has not
 * fetched, receives that have not landed. They go back to their pool by themselves when the network
 * is done with them. A peer that stands still never lets that happen, so its connection is closed
 * after {@link #PATIENCE}; what even that does not bring back is quarantined for good, and counted.
 * Transport thread only, but for {@link #isEmpty} and {@link #quarantined}.
 */
final class Leftovers {
  private static final Logger log = LoggerFactory.getLogger(Leftovers.class);

  /** Longer than the pauses of a peer that is only busy. */
  static final Duration PATIENCE = Duration.ofSeconds(3);

  private static final class Entry {
    final SlabQueue.User user;
    final @Nullable Connection connection;
    final long since;
    boolean closed;
    boolean quarantined;

    Entry(SlabQueue.User user, @Nullable Connection connection, long since) {
      this.user = user;
      this.connection = connection;
      this.since = since;
    }
  }

  private final List<Entry> entries = new ArrayList<>();
  private volatile boolean empty = true;
  private volatile int quarantined;

  /** Watches the slabs of a hand-off that has just ended. */
  void add(SlabQueue.User user, @Nullable Connection connection, long now) {
    if (user.slabsHeld() > 0) {
      entries.add(new Entry(user, connection, now));
      empty = false;
    }
  }

  /** Looks at the time. */
  void check(long now) {
    entries.removeIf(entry -> entry.user.slabsHeld() == 0);
    int stuck = 0;
    for (Entry entry : List.copyOf(entries)) {
      long age = now - entry.since;
      if (age >= PATIENCE.toNanos() && !entry.closed) {
        entry.closed = true;
        close(entry);
      }
      if (age >= 2 * PATIENCE.toNanos()) {
        stuck += entry.user.slabsHeld();
        if (!entry.quarantined) {
          entry.quarantined = true;
          log.warn(
              "{} slabs of {} never came back, {} s after its end, and stay quarantined",
              entry.user.slabsHeld(),
              entry.user.describe(),
              age / 1_000_000_000);
        }
      }
    }
    quarantined = stuck;
    empty = entries.isEmpty();
  }

  private static void close(Entry entry) {
    Connection connection = entry.connection;
    if (connection != null) {
      log.warn(
          "closing the connection to {}: {} slabs still in use {} s after the end of their"
              + " hand-off",
          connection.peer(),
          entry.user.slabsHeld(),
          PATIENCE.toSeconds());
      connection.close();
    }
  }

  /** Nothing to look after. Any thread. */
  boolean isEmpty() {
    return empty;
  }

  /** Slabs given up. Any thread. */
  int quarantined() {
    return quarantined;
  }
}
