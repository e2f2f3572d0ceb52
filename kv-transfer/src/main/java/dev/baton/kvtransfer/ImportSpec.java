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
 */
public record ImportSpec(
    String session,
    int epoch,
    KvGeometry geometry,
    int firstToken,
    int tokens,
    int room,
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
  }

  /** Of a context that is known to its end. */
  public ImportSpec(
      String session,
      int epoch,
      KvGeometry geometry,
      int firstToken,
      int tokens,
      long contextHash) {
    this(session, epoch, geometry, firstToken, tokens, 0, _ -> contextHash);
  }

  /** Tokens that the context has at most when the hand-off ends. */
  public int mostTokens() {
    return tokens + room;
  }
}
