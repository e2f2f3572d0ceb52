package dev.baton.device;

/** A collective ended early because another rank failed; the cause is that rank's error. */
public final class RankAbortedException extends RuntimeException {

  public RankAbortedException(Throwable cause) {
    super("another rank of this worker failed: " + cause.getMessage(), cause);
  }
}
