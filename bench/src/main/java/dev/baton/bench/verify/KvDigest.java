package dev.baton.bench.verify;

import dev.baton.engine.ModelInfo;
import dev.baton.kvtransfer.KvSource;
import dev.baton.kvtransfer.SlabRange;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * What the KV of a context is, layer by layer and tile by tile: the first 8 bytes of the SHA-256 of
 * its canonical form. Small enough to keep for every session, fine enough to say where two differ.
 *
 * @param from first token
 * @param to token after the last
 * @param hashes {@code [layer][tile]}, tiles of {@link #TILE_TOKENS} tokens counted from {@code
 *     from}
 */
record KvDigest(int from, int to, long bytes, long[][] hashes) {

  private static final int TILE_TOKENS = 32;

  /** Reads the KV of tokens {@code [from, to)} on the calling thread. */
  static KvDigest of(KvSource kv, ModelInfo model, int from, int to) {
    long perToken = model.kvBytesPerToken() / model.layers();
    int tiles = Math.ceilDiv(to - from, TILE_TOKENS);
    long[][] hashes = new long[model.layers()][tiles];
    MessageDigest sha = sha256();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment slab = arena.allocate(perToken * TILE_TOKENS, Long.BYTES);
      for (int layer = 0; layer < model.layers(); layer++) {
        for (int tile = 0; tile < tiles; tile++) {
          int first = from + tile * TILE_TOKENS;
          int end = Math.min(to, first + TILE_TOKENS);
          MemorySegment part = slab.asSlice(0, perToken * (end - first));
          kv.pack(new SlabRange(layer, layer + 1, first, end), part);
          sha.update(part.asByteBuffer());
          hashes[layer][tile] = ByteBuffer.wrap(sha.digest()).getLong();
        }
      }
    }
    return new KvDigest(from, to, perToken * model.layers() * (to - from), hashes);
  }

  /** Where the two differ first; null when they are equal. */
  @Nullable String difference(KvDigest other) {
    if (from != other.from || to != other.to || hashes.length != other.hashes.length) {
      return "KV of %d layers, tokens %d to %d, against %d layers, tokens %d to %d"
          .formatted(hashes.length, from, to, other.hashes.length, other.from, other.to);
    }
    for (int layer = 0; layer < hashes.length; layer++) {
      int tile = Arrays.mismatch(hashes[layer], other.hashes[layer]);
      if (tile >= 0) {
        int first = from + tile * TILE_TOKENS;
        return "KV of layer %d, tokens %d to %d"
            .formatted(layer, first, Math.min(to, first + TILE_TOKENS) - 1);
      }
    }
    return null;
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
