package dev.baton.kvtransfer;

import dev.baton.kvtransfer.wire.HandoffReason;

/**
 * A line of the account of slabs: what one side of one hand-off holds, and why.
 *
 * @param session of the hand-off
 * @param epoch of the session
 * @param reason of the hand-off
 * @param sinceNanos when the first of the slabs was taken, by the transfer's clock
 */
public record SlabHolding(
    String session, int epoch, HandoffReason reason, Side side, int slabs, long sinceNanos) {

  /** Which pool the slabs are of. */
  public enum Side {
    /** Packed slabs on their way out. */
    SENDING,
    /** Slabs that arrive. */
    LANDING
  }
}
