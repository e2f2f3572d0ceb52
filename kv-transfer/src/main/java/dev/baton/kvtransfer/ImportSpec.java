package dev.baton.kvtransfer;

import java.util.List;

/**
 * What an importer expects.
 *
 * @param session for logs and headers
 * @param epoch attempt of the session; slabs of another are ignored
 * @param firstToken context tokens that are here already
 * @param tokens of the context, as far as it is known
 * @param room tokens that may be added to it before the hand-off ends: the sink has a place for
 *     them
 * @param window positions that a token of the model sees back, its own counted; 0 = all. The
 *     exporter may leave out what is behind the window of the context's end
 */
public record ImportSpec(
    String session,
    int epoch,
    KvGeometry geometry,
    int firstToken,
    int tokens,
    int room,
    int window,
    ContextHasher hasher) {

  /** Knows the context as far as the importer does. */
  @FunctionalInterface
  public interface ContextHasher {

    /** Hash of the context with these tokens after it, as in {@link Manifest}. */
    long with(List<Integer> added);
  }

  public ImportSpec {
    if (firstToken < 0 || firstToken >= tokens) {
      throw new IllegalArgumentException(
          "firstToken: %d (expected: 0 to %d)".formatted(firstToken, tokens - 1));
    }
    if (room < 0 || room > Manifest.MOST_ADDED) {
      throw new IllegalArgumentException(
          "room: %d (expected: 0 to %d)".formatted(room, Manifest.MOST_ADDED));
    }
    if (window < 0) {
      throw new IllegalArgumentException("window: %d (expected: >= 0)".formatted(window));
    }
  }

  /** Of a context that is known to its end, and all of it wanted. */
  public ImportSpec(
      String session,
      int epoch,
      KvGeometry geometry,
      int firstToken,
      int tokens,
      long contextHash) {
    this(session, epoch, geometry, firstToken, tokens, 0, 0, _ -> contextHash);
  }

  /** Tokens that the context has at most when the hand-off ends. */
  public int mostTokens() {
    return tokens + room;
  }

  /**
   * Whether a hand-off from this token on brings all that a context of so many tokens lacks here:
   * the next token looks back at its window, and at no less than the token before it.
   */
  public boolean sufficesFrom(int token, int contextTokens) {
    int seen = window == 0 ? contextTokens : Math.max(1, window - 1);
    return token <= Math.max(firstToken, contextTokens - seen);
  }
}
