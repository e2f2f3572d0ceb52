package dev.baton.peer;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.List;

/**
 * Hash of a context's token ids, by which processes make sure that they speak of the same one: the
 * hand-off's manifest carries it. First 8 bytes, big-endian, of the SHA-256 of the ids as
 * little-endian ints. Immutable; any thread.
 */
public final class ContextHash {

  private final MessageDigest digest;

  private ContextHash(MessageDigest digest) {
    this.digest = digest;
  }

  /** Of a context that may go on. */
  public static ContextHash begin(int[] context) {
    ByteBuffer ids =
        ByteBuffer.allocate(Math.multiplyExact(context.length, 4)).order(ByteOrder.LITTLE_ENDIAN);
    ids.asIntBuffer().put(context);
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      digest.update(ids.array());
      return new ContextHash(digest);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("SHA-256: absent (expected: in every JDK)", e);
    }
  }

  /** Of a whole context. */
  public static long of(int[] context) {
    return begin(context).with(List.of());
  }

  /** Of the context with these tokens after it. */
  public long with(List<Integer> added) {
    ByteBuffer ids = ByteBuffer.allocate(4 * added.size()).order(ByteOrder.LITTLE_ENDIAN);
    added.forEach(ids::putInt);
    try {
      MessageDigest copy = (MessageDigest) digest.clone();
      return ByteBuffer.wrap(copy.digest(ids.array())).getLong();
    } catch (CloneNotSupportedException e) {
      throw new IllegalStateException("SHA-256: cannot be copied (expected: in every JDK)", e);
    }
  }
}
