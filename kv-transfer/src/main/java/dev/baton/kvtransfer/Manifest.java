package dev.baton.kvtransfer;

import java.util.List;

/**
 * Ends a hand-off: what the importer must find true before it may use the KV.
 *
 * @param tokens context tokens whose KV the importer has after this hand-off, the ticket's {@code
 *     firstToken} included
 * @param contextHash first 8 bytes, big-endian, of the SHA-256 of the context's token ids as
 *     little-endian ints
 * @param firstToken the token sampled by the exporter
 * @param firstIndex its index among the generated tokens; the sampler's whole state, with the
 *     session's seed
 * @param added the context's last tokens, those that the importer did not know when it opened its
 *     side; none but where the context grew meanwhile
 */
public record Manifest(
    int tokens, long contextHash, int firstToken, int firstIndex, List<Integer> added) {

  /** So many tokens at most may be added to a context while it is handed over. */
  public static final int MOST_ADDED = 256;

  public Manifest {
    added = List.copyOf(added);
    if (added.size() > MOST_ADDED) {
      throw new IllegalArgumentException(
          "added: %d tokens (expected: at most %d)".formatted(added.size(), MOST_ADDED));
    }
  }

  /** Of a context that the importer knew from the start. */
  public Manifest(int tokens, long contextHash, int firstToken, int firstIndex) {
    this(tokens, contextHash, firstToken, firstIndex, List.of());
  }
}
