package dev.baton.device.reference;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import dev.baton.device.DType;
import java.lang.foreign.MemorySegment;

/**
 * The key or value of one token and head, dense, in a cache or in a slab. INT8 is eight bits an
 * element and a float32 scale behind them.
 *
 * <p>The scale is {@code largest magnitude / 127}, rounded to 16 significant bits, 0 where that is
 * denormal, NaN where the row is not finite; an element is {@code x * (1 / scale)} to the nearest
 * integer. Products of such a scale with eight bits are exact, so a row that was widened to float32
 * comes back as it was.
 */
final class KvRow {

  private static final int LARGEST = 127;

  /** Bits of a float32 that the scale does without. */
  private static final int DROPPED = 8;

  private KvRow() {}

  /** Elements times scale, all in float32. */
  static void read(MemorySegment memory, DType dtype, long offset, float[] into) {
    readElements(memory, dtype, offset, into);
    if (dtype == DType.INT8) {
      float scale = scale(memory, offset, into.length);
      for (int d = 0; d < into.length; d++) {
        into[d] *= scale;
      }
    }
  }

  /** Elements without their scale. */
  static void readElements(MemorySegment memory, DType dtype, long offset, float[] into) {
    for (int d = 0; d < into.length; d++) {
      into[d] =
          dtype == DType.INT8
              ? memory.get(JAVA_BYTE, offset + d)
              : ReferenceKvCache.get(memory, dtype, offset, d);
    }
  }

  static float scale(MemorySegment memory, long offset, int elements) {
    return memory.get(JAVA_FLOAT_UNALIGNED, offset + elements);
  }

  static void write(MemorySegment memory, DType dtype, long offset, float[] from) {
    if (dtype == DType.INT8) {
      quantize(memory, offset, from);
      return;
    }
    for (int d = 0; d < from.length; d++) {
      ReferenceKvCache.set(memory, dtype, offset, d, from[d]);
    }
  }

  private static void quantize(MemorySegment memory, long offset, float[] from) {
    float scale = scaleOf(from);
    float inverse = 1f / scale;
    for (int d = 0; d < from.length; d++) {
      boolean counts = scale > 0;
      memory.set(
          JAVA_BYTE, offset + d, counts ? (byte) Math.rint((double) (from[d] * inverse)) : 0);
    }
    memory.set(JAVA_FLOAT_UNALIGNED, offset + from.length, scale);
  }

  private static float scaleOf(float[] row) {
    float largest = 0f;
    for (float x : row) {
      if (!Float.isFinite(x)) {
        return Float.NaN;
      }
      largest = Math.max(largest, Math.abs(x));
    }
    int bits = Float.floatToRawIntBits(largest / LARGEST);
    bits = (bits + (1 << (DROPPED - 1))) >>> DROPPED << DROPPED;
    float scale = Float.intBitsToFloat(bits);
    return scale < Float.MIN_NORMAL ? 0f : scale;
  }
}
