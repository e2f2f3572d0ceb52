package dev.baton.kvtransfer;

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
 */
public record Manifest(int tokens, long contextHash, int firstToken, int firstIndex) {}
