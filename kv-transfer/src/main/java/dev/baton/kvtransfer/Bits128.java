package dev.baton.kvtransfer;

import java.nio.ByteBuffer;
import java.util.random.RandomGenerator;

/**
 * 128 random bits: a transfer's name, or its secret. {@link #toString} is the hexadecimal form;
 * never log a secret.
 */
public record Bits128(long high, long low) {

  /**
   * @param random a {@link java.security.SecureRandom} wherever strangers could guess
   */
  public static Bits128 random(RandomGenerator random) {
    return new Bits128(random.nextLong(), random.nextLong());
  }

  /** Reads 16 big-endian bytes. */
  public static Bits128 of(byte[] bytes) {
    if (bytes.length != 16) {
      throw new IllegalArgumentException("bytes: %d (expected: 16)".formatted(bytes.length));
    }
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    return new Bits128(buffer.getLong(), buffer.getLong());
  }

  public byte[] toBytes() {
    return ByteBuffer.allocate(16).putLong(high).putLong(low).array();
  }

  @Override
  public String toString() {
    return "%016x%016x".formatted(high, low);
  }
}
