package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import java.lang.foreign.MemorySegment;

/**
 * A rank's KV on its GPU: for each layer bfloat16 {@code [block][key, value][head][blockTokens]
 * [width]}, width being the head's dimension filled up to a multiple of 32.
 */
record CudaKvCache(KvShape shape, MemorySegment memory) implements KvCache {

  /** Bytes of the struct of a layer in {@code layouts.h}. */
  static final int LAYER_BYTES = 24;

  int width() {
    return Math.toIntExact(shape.rowBytes() / Short.BYTES);
  }

  long layerBytes() {
    return shape.bytes() / shape.layers();
  }

  /** The struct of a layer. */
  void write(MemorySegment to, int layer) {
    to.set(JAVA_LONG, 0, memory.address() + layer * layerBytes());
    to.set(JAVA_INT, 8, shape.blockTokens());
    to.set(JAVA_INT, 12, shape.kvHeads());
    to.set(JAVA_INT, 16, width());
    to.set(JAVA_INT, 20, shape.headDim());
  }
}
