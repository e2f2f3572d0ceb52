package dev.baton.engine.sample;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Finds where a list must be cut, largest keys first, for its head to reach a wanted mass: the k
 * likeliest tokens (each of mass 1), or the fewest whose weights add up to a share. Radix
 * selection: three counting passes over the keys, 11, 11 and 10 bits from the top; nothing is
 * sorted, and no input is worse than another. One thread.
 */
final class Threshold {

  private static final int DIGIT_BITS = 11;

  private final long[] masses = new long[1 << DIGIT_BITS];
  private int key;
  private long missing;

  /** Larger is likelier, as unsigned integers; both zeros are equal. */
  static int ordered(float value) {
    int bits = Float.floatToRawIntBits(value + 0.0f);
    return bits ^ (bits >> 31 | Integer.MIN_VALUE);
  }

  /** The float that {@link #ordered} has mapped. */
  static float valueOf(int ordered) {
    return Float.intBitsToFloat(ordered ^ (~ordered >> 31 | Integer.MIN_VALUE));
  }

  /**
   * Finds the cut.
   *
   * @param keys compared as unsigned; the first {@code count} hold
   * @param mass of each key, equal for equal keys; null = 1
   * @param wanted at least 1, and no more than all masses
   */
  void find(int[] keys, int @Nullable [] mass, int count, long wanted) {
    int prefix = 0;
    int prefixBits = 0;
    missing = wanted;
    while (prefixBits < Integer.SIZE) {
      int digitBits = Math.min(DIGIT_BITS, Integer.SIZE - prefixBits);
      int shift = Integer.SIZE - prefixBits - digitBits;
      int digits = 1 << digitBits;
      Arrays.fill(masses, 0, digits, 0);
      for (int i = 0; i < count; i++) {
        // A shift by 32 would be one by 0.
        if (prefixBits == 0 || keys[i] >>> (shift + digitBits) == prefix) {
          masses[keys[i] >>> shift & digits - 1] += mass == null ? 1 : mass[i];
        }
      }
      int digit = digits - 1;
      while (masses[digit] < missing) {
        missing -= masses[digit];
        digit--;
      }
      prefix = prefix << digitBits | digit;
      prefixBits += digitBits;
    }
    key = prefix;
  }

  /** The key at which the mass is reached; larger ones are in. */
  int key() {
    return key;
  }

  /** What those of the key itself must add, at least 1. */
  long missing() {
    return missing;
  }
}
