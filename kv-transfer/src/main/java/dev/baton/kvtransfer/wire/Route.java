package dev.baton.kvtransfer.wire;

import dev.baton.kvtransfer.Bits128;

/**
 * Which hand-off a message belongs to; part of every message. A receiver ignores a message whose
 * session or epoch is not that of the transfer.
 *
 * @param transfer name of the hand-off
 * @param session of the request, at most {@link #MAX_SESSION} characters
 * @param epoch attempt of the session
 */
public record Route(Bits128 transfer, String session, int epoch) {

  /** Characters of a session's name, so that every header fits into its slot. */
  public static final int MAX_SESSION = 128;

  public Route {
    if (session.length() > MAX_SESSION) {
      throw new IllegalArgumentException(
          "session: %d characters (expected: at most %d)".formatted(session.length(), MAX_SESSION));
    }
    if (epoch < 0) {
      throw new IllegalArgumentException("epoch: %d (expected: >= 0)".formatted(epoch));
    }
  }

  @Override
  public String toString() {
    return "session %s epoch %d transfer %s".formatted(session, epoch, transfer);
  }
}
