package dev.baton.worker.wire;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** Hash of a context's token ids, as the hand-off's manifest carries it. */
public final class ContextHash {

  private ContextHash() {}

  /** First 8 bytes, big-endian, of the SHA-256 of the ids as little-endian ints. */
  public static long of(int[] context) {
    ByteBuffer ids =
        ByteBuffer.allocate(Math.multiplyExact(context.length, 4)).order(ByteOrder.LITTLE_ENDIAN);
    ids.asIntBuffer().put(context);
    try {
      return ByteBuffer.wrap(MessageDigest.getInstance("SHA-256").digest(ids.array())).getLong();
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("SHA-256: absent (expected: in every JDK)", e);
    }
  }
}
