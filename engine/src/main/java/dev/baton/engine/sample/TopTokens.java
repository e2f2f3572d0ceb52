package dev.baton.engine.sample;

import java.util.Arrays;

/**
 * Finds the likeliest tokens of a row without sorting it. Order: larger logit first, equal logits
 * by rising id; a total order, so the result is one and the same list on every machine.
 *
 * <p>Radix selection: floats map to integers of the same order, and three counting passes over
 * them, 11, 11 and 10 bits from the top, find the value of the last token that is in. One more pass
 * collects those above it and, by rising id, as many equal to it as there is room for. Four passes
 * at worst, whatever the logits; only the tokens found are sorted. Buffers are reused; one thread.
 */
final class TopTokens {

  private static final int DIGIT_BITS = 11;
  private static final long ID_MASK = 0xFFFFFFFFL;

  private final int[] histogram = new int[1 << DIGIT_BITS];
  private long[] found = new long[64];
  private int count;

  /** Finds the {@code wanted} likeliest (or all, when there are fewer) and orders them. */
  void select(float[] logits, int vocabulary, int wanted) {
    count = Math.min(wanted, vocabulary);
    if (found.length < count) {
      found = new long[Math.max(count, Math.min(vocabulary, 2 * found.length))];
    }
    if (count == vocabulary) {
      for (int id = 0; id < vocabulary; id++) {
        found[id] = pack(logits[id], id);
      }
    } else {
      collect(logits, vocabulary);
    }
    Arrays.sort(found, 0, count);
  }

  int count() {
    return count;
  }

  /** The id at place {@code rank}, 0 being the likeliest. */
  int id(int rank) {
    return (int) (~found[count - 1 - rank] & ID_MASK);
  }

  private void collect(float[] logits, int vocabulary) {
    // The prefix of the last value that is in, found digit by digit, and how many share it.
    int prefix = 0;
    int prefixBits = 0;
    int missing = count;
    while (prefixBits < Integer.SIZE) {
      int digitBits = Math.min(DIGIT_BITS, Integer.SIZE - prefixBits);
      int shift = Integer.SIZE - prefixBits - digitBits;
      Arrays.fill(histogram, 0);
      int mask = (1 << digitBits) - 1;
      for (int id = 0; id < vocabulary; id++) {
        int value = ordered(logits[id]);
        if (prefixBits == 0 || value >>> (shift + digitBits) == prefix) {
          histogram[value >>> shift & mask]++;
        }
      }
      int digit = mask;
      while (histogram[digit] < missing) {
        missing -= histogram[digit];
        digit--;
      }
      prefix = prefix << digitBits | digit;
      prefixBits += digitBits;
    }
    int size = 0;
    for (int id = 0; id < vocabulary && size < count; id++) {
      int compared = Integer.compareUnsigned(ordered(logits[id]), prefix);
      if (compared > 0) {
        found[size++] = pack(logits[id], id);
      } else if (compared == 0 && missing > 0) {
        missing--;
        found[size++] = pack(logits[id], id);
      }
    }
  }

  /** Larger is likelier; the complement of the id makes the smaller id larger. */
  private static long pack(float logit, int id) {
    return (long) (ordered(logit) ^ Integer.MIN_VALUE) << 32 | ~id & ID_MASK;
  }

  /** An integer whose unsigned order is the order of the floats; both zeros are equal. */
  private static int ordered(float value) {
    int bits = Float.floatToRawIntBits(value + 0.0f);
    return bits ^ (bits >> 31 | Integer.MIN_VALUE);
  }
}
