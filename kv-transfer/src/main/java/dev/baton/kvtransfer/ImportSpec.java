package dev.baton.kvtransfer;

/**
 * What an importer expects.
 *
 * @param session for logs and headers
 * @param epoch attempt of the session; slabs of another are ignored
 * @param firstToken context tokens that are here already
 * @param tokens of the whole context
 * @param contextHash as in {@link Manifest}
 */
public record ImportSpec(
    String session, int epoch, KvGeometry geometry, int firstToken, int tokens, long contextHash) {

  public ImportSpec {
    if (firstToken < 0 || firstToken >= tokens) {
      throw new IllegalArgumentException(
          "firstToken: %d (expected: 0 to %d)".formatted(firstToken, tokens - 1));
    }
  }
}
