package dev.baton.kvtransfer;

import org.jspecify.annotations.Nullable;

/** A hand-off that did not complete. */
public final class HandoffException extends RuntimeException {

  /** Why. */
  public enum Kind {
    /** A local cancel or abort. */
    CANCELLED,
    /** The other side aborted. */
    PEER_ABORTED,
    /** The other side's process or connection is gone. */
    PEER_LOST,
    /** Slabs stayed wrong after all resends, or the manifest does not match. */
    CORRUPT,
    /** The lease or the connect deadline passed. */
    TIMEOUT,
    /** A fault of ours, or of source or sink. */
    INTERNAL
  }

  private final Kind kind;

  public HandoffException(Kind kind, String message) {
    this(kind, message, null);
  }

  public HandoffException(Kind kind, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.kind = kind;
  }

  public Kind kind() {
    return kind;
  }
}
