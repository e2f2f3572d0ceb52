package dev.baton.device;

import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.MemorySegment;

/**
 * The rule of a random matrix: random signs and mantissas over four exponents, all below {@code 2 /
 * sqrt(columns)} or {@code 3 / sqrt(columns)}, so about unit variance in, unit variance out, and
 * products neither overflow nor fade. Elements are parts of words of 64 bits, and word {@code i} is
 * a function of seed and {@code i} alone (SplitMix64: Steele, Lea, Flood, "Fast splittable
 * pseudorandom number generators", 2014): whoever needs some of them makes these, where they are
 * needed, and the bits are the same on every machine and by any number of threads.
 *
 * @param dtype of the elements: BFLOAT16 or FLOAT32
 * @param columns of the matrix; sets the size of its elements
 */
public record RandomElements(DType dtype, int columns, long seed) {

  private static final long STEP = 0x9E3779B97F4A7C15L;

  /** The mask of two bits in {@link #keep} makes them. */
  private static final int EXPONENTS = 4;

  public RandomElements {
    if (dtype != DType.BFLOAT16 && dtype != DType.FLOAT32) {
      throw new IllegalArgumentException(
          "dtype: %s (expected: BFLOAT16 or FLOAT32)".formatted(dtype));
    }
  }

  /** Of a random word, the bits that are signs, mantissas and the last two of each exponent. */
  public long keep() {
    return dtype == DType.BFLOAT16 ? 0x81FF_81FF_81FF_81FFL : 0x81FF_FFFF_81FF_FFFFL;
  }

  /** What is added to these: the least exponent of each element. */
  public long base() {
    int root = (31 - Integer.numberOfLeadingZeros(columns)) / 2;
    // The largest exponent makes 1 / sqrt(columns); no sum below leaves its lane.
    long exponent = Math.max(1, 127 - root - (EXPONENTS - 1));
    return dtype == DType.BFLOAT16
        ? (exponent << 7) * 0x0001_0001_0001_0001L
        : (exponent << 23) * 0x0000_0001_0000_0001L;
  }

  /** Fills with elements from the first on; whole words, without a branch per element. */
  public void fill(MemorySegment data) {
    long keep = keep();
    long base = base();
    long state = seed;
    long words = data.byteSize() / Long.BYTES;
    for (long i = 0; i < words; i++) {
      state += STEP;
      data.set(JAVA_LONG_UNALIGNED, i * Long.BYTES, (mix(state) & keep) + base);
    }
    if (words * Long.BYTES < data.byteSize()) {
      long last = (mix(state + STEP) & keep) + base;
      MemorySegment tail = data.asSlice(words * Long.BYTES);
      MemorySegment.copy(MemorySegment.ofArray(new long[] {last}), 0, tail, 0, tail.byteSize());
    }
  }

  private static long mix(long z) {
    long a = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    long b = (a ^ (a >>> 27)) * 0x94D049BB133111EBL;
    return b ^ (b >>> 31);
  }
}
