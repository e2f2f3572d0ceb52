package dev.baton.device.reference;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import dev.baton.device.DType;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import dev.baton.device.host.Bf16;
import java.lang.foreign.MemorySegment;

/** Blocks as {@code [layer][block][head][k|v][token]} of rows ({@link KvRow}). */
record ReferenceKvCache(KvShape shape, MemorySegment memory) implements KvCache {

  static final int KEY = 0;
  static final int VALUE = 1;

  /** Byte at which a token's key or value begins. */
  long offset(int layer, int block, int head, int keyOrValue, int token) {
    long i = (long) layer * shape.blocks() + block;
    i = i * shape.kvHeads() + head;
    i = i * 2 + keyOrValue;
    i = i * shape.blockTokens() + token;
    return i * shape.rowBytes();
  }

  void read(long offset, float[] into) {
    KvRow.read(memory, shape.dtype(), offset, into);
  }

  void write(long offset, float[] from) {
    KvRow.write(memory, shape.dtype(), offset, from);
  }

  static float get(MemorySegment memory, DType dtype, long index) {
    return get(memory, dtype, 0, index);
  }

  static float get(MemorySegment memory, DType dtype, long offset, long index) {
    return switch (dtype) {
      case FLOAT32 -> memory.get(JAVA_FLOAT_UNALIGNED, offset + 4 * index);
      case BFLOAT16 -> Bf16.toFloat(memory.get(JAVA_SHORT_UNALIGNED, offset + 2 * index));
      case FLOAT16 -> widen(memory.get(JAVA_SHORT_UNALIGNED, offset + 2 * index));
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
    set(memory, dtype, 0, index, value);
  }

  static void set(MemorySegment memory, DType dtype, long offset, long index, float value) {
    switch (dtype) {
      case FLOAT32 -> memory.set(JAVA_FLOAT_UNALIGNED, offset + 4 * index, value);
      case BFLOAT16 -> memory.set(JAVA_SHORT_UNALIGNED, offset + 2 * index, Bf16.fromFloat(value));
      case FLOAT16, INT8, INT32 ->
          throw new IllegalArgumentException(
              "dtype: %s (expected: FLOAT32 or BFLOAT16)".formatted(dtype));
    }
  }
}
