package dev.baton.worker.ledger;

import dev.baton.engine.SessionId;
import dev.baton.kvtransfer.SlabHolding;
import java.util.Locale;

/**
 * What a session holds on this worker, of the engine or of the transfer.
 *
 * @param what blocks, pages, or slabs of one side
 * @param reason as the account of its owner names it
 * @param count of them
 * @param sinceNanos when the first was taken, by the worker's clock
 */
public record Holding(SessionId session, What what, String reason, long count, long sinceNanos) {

  /** What can be held. */
  public enum What {
    /** KV blocks. */
    BLOCKS,
    /** Pages of the swap space. */
    PAGES,
    /** Slabs on their way out. */
    SENDING_SLABS,
    /** Slabs that arrive. */
    LANDING_SLABS;

    /** The network may need some time to let go of slabs; nothing else outlives its session. */
    boolean slabs() {
      return this == SENDING_SLABS || this == LANDING_SLABS;
    }

    /** For people and labels. */
    public String label() {
      return name().toLowerCase(Locale.ROOT).replace('_', ' ');
    }
  }

  /** A line of the engine's account. */
  public static Holding of(dev.baton.engine.Holding line) {
    What what =
        switch (line.kind()) {
          case BLOCK -> What.BLOCKS;
          case PAGE -> What.PAGES;
        };
    return new Holding(line.session(), what, line.reason(), line.count(), line.sinceNanos());
  }

  /** A line of the transfer's account. */
  public static Holding of(SlabHolding line) {
    What what =
        switch (line.side()) {
          case SENDING -> What.SENDING_SLABS;
          case LANDING -> What.LANDING_SLABS;
        };
    return new Holding(
        new SessionId(line.session(), line.epoch()),
        what,
        line.reason().name(),
        line.slabs(),
        line.sinceNanos());
  }

  /** In words, for people. */
  public String describe(long nowNanos) {
    return "%d %s of session %s for %.3f s as %s"
        .formatted(count, what.label(), session, (nowNanos - sinceNanos) / 1e9, reason);
  }
}
