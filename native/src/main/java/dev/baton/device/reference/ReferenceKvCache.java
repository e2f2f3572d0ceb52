package dev.baton.device.reference;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import dev.baton.device.DType;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import dev.baton.device.host.Bf16;
import java.lang.foreign.MemorySegment;

/** Blocks as {@code [layer][block][head][k|v][token][dim]}. */
record ReferenceKvCache(KvShape shape, MemorySegment memory) implements KvCache {

  static final int KEY = 0;
  static final int VALUE = 1;

  /** Element number of dimension 0 of a token's key or value. */
  long index(int layer, int block, int head, int keyOrValue, int token) {
    long i = (long) layer * shape.blocks() + block;
    i = i * shape.kvHeads() + head;
    i = i * 2 + keyOrValue;
    i = i * shape.blockTokens() + token;
    return i * shape.headDim();
  }

  void read(long index, float[] into) {
    for (int d = 0; d < shape.headDim(); d++) {
      into[d] = get(memory, shape.dtype(), index + d);
    }
  }

  void write(long index, float[] from, int offset) {
    for (int d = 0; d < shape.headDim(); d++) {
      set(memory, shape.dtype(), index + d, from[offset + d]);
    }
  }

  static float get(MemorySegment memory, DType dtype, long index) {
    return switch (dtype) {
      case FLOAT32 -> memory.get(JAVA_FLOAT_UNALIGNED, 4 * index);
      case BFLOAT16 -> Bf16.toFloat(memory.get(JAVA_SHORT_UNALIGNED, 2 * index));
      case FLOAT16 -> widen(memory.get(JAVA_SHORT_UNALIGNED, 2 * index));
      case INT8, INT32 ->
          throw new IllegalArgumentException("dtype: %s (expected: a float type)".formatted(dtype));
    };
  }

  /**
   * Exact; a NaN becomes a quiet one, whether the Java virtual machine's own conversion does so or
   * not.
   */
  private static float widen(short half) {
    float value = Float.float16ToFloat(half);
    return Float.isNaN(value)
        ? Float.intBitsToFloat(Float.floatToRawIntBits(value) | 0x400000)
        : value;
  }

  static void set(MemorySegment memory, DType dtype, long index, float value) {
    switch (dtype) {
      case FLOAT32 -> memory.set(JAVA_FLOAT_UNALIGNED, 4 * index, value);
      case BFLOAT16 -> memory.set(JAVA_SHORT_UNALIGNED, 2 * index, Bf16.fromFloat(value));
      case FLOAT16, INT8, INT32 ->
          throw new IllegalArgumentException(
              "dtype: %s (expected: FLOAT32 or BFLOAT16)".formatted(dtype));
    }
  }
}
