package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import java.util.Locale;
import org.slf4j.event.Level;

/** How the end of a hand-off reads in the log. */
final class HandoffLine {

  private HandoffLine() {}

  static String of(HandoffStats stats) {
    return String.format(
        Locale.ROOT,
        "%d bytes, %d slabs, %d resent, %.2f ms, %.2f GB/s",
        stats.bytes(),
        stats.slabs(),
        stats.resent(),
        stats.nanos() / 1e6,
        stats.bytes() / (double) Math.max(1, stats.nanos()));
  }

  /**
   * A client that leaves, or a first token that ends its session, cancels a hand-off: nothing is
   * wrong then. What made a peer abort, the peer says itself.
   */
  static Level level(HandoffException.Kind kind) {
    return switch (kind) {
      case CANCELLED, PEER_ABORTED -> Level.DEBUG;
      case PEER_LOST, CORRUPT, TIMEOUT, INTERNAL -> Level.WARN;
    };
  }
}
