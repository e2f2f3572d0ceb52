package dev.baton.engine.cache;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.DigestException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/**
 * Computes {@link BlockKey}s. A chain starts at a root, the hash of fingerprint and salt, and each
 * block's key hashes its parent's key and its own tokens; so a key stands for fingerprint, salt and
 * every token from position 0 to the block's end. Strings carry their length, so no two inputs run
 * together.
 *
 * <p>A cryptographic hash, because tenants choose the tokens: with a weaker one a crafted prompt
 * could be answered from someone else's KV.
 */
final class BlockHasher {

  private static final int DIGEST_BYTES = 32;

  private final byte[] fingerprint;
  private final int blockTokens;
  private final MessageDigest sha256;
  private final ByteBuffer input;
  private final byte[] digest = new byte[DIGEST_BYTES];
  private final ByteBuffer digestView = ByteBuffer.wrap(digest).order(ByteOrder.BIG_ENDIAN);

  BlockHasher(String fingerprint, int blockTokens) {
    this.fingerprint = fingerprint.getBytes(StandardCharsets.UTF_8);
    this.blockTokens = blockTokens;
    this.input =
        ByteBuffer.allocate(2 * Long.BYTES + blockTokens * Integer.BYTES)
            .order(ByteOrder.LITTLE_ENDIAN);
    try {
      this.sha256 = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("SHA-256: not in this JDK (expected: every JDK has it)", e);
    }
  }

  BlockKey root(String salt) {
    byte[] saltBytes = salt.getBytes(StandardCharsets.UTF_8);
    sha256.update(ByteBuffer.allocate(Integer.BYTES).putInt(0, fingerprint.length));
    sha256.update(fingerprint);
    sha256.update(ByteBuffer.allocate(Integer.BYTES).putInt(0, saltBytes.length));
    sha256.update(saltBytes);
    return finish();
  }

  /** The key of the block that holds {@code tokens[from .. from + blockTokens)}. */
  BlockKey next(BlockKey parent, int[] tokens, int from) {
    input.clear();
    input.putLong(parent.high()).putLong(parent.low());
    for (int i = 0; i < blockTokens; i++) {
      input.putInt(tokens[from + i]);
    }
    sha256.update(input.flip());
    return finish();
  }

  private BlockKey finish() {
    try {
      sha256.digest(digest, 0, DIGEST_BYTES);
    } catch (DigestException e) {
      throw new IllegalStateException("SHA-256: digest failed (expected: 32 bytes are enough)", e);
    }
    return new BlockKey(digestView.getLong(0), digestView.getLong(Long.BYTES));
  }
}
