package dev.baton.kvtransfer.wire;

/** Why KV moves; the protocol is the same for all. The order is part of the wire format. */
public enum HandoffReason {
  /** A prefill worker hands a computed prompt to the decode worker. */
  PREFILL_TO_DECODE,
  /** A running session moves to another decode worker. */
  MIGRATION,
  /** A worker empties itself before it stops. */
  DRAIN,
  /** A worker fetches a cached prefix from a peer. */
  PREFIX_FETCH
}
