package dev.baton.kvtransfer;

/**
 * Thrown by a {@link KvSource} whose KV has lost its blocks and comes back. The slab is packed anew
 * once the export hears of tokens or of its end again, which its owner says when the KV is there.
 */
public final class KvAwayException extends RuntimeException {

  public KvAwayException(String message, Throwable cause) {
    super(message, cause);
  }
}
