package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.DType;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import java.lang.foreign.MemorySegment;

/**
 * A rank's KV on its GPU: for each layer {@code [block][key, value][head]} of bfloat16 {@code
 * [blockTokens][width]}, width being the head's dimension filled up to a multiple of 32; or of
 * eight bits, and behind them the scales of the rows, float32 {@code [blockTokens]}.
 */
record CudaKvCache(KvShape shape, MemorySegment memory) implements KvCache {

  /** Bytes of the struct of a layer in {@code layouts.h}. */
  static final int LAYER_BYTES = 32;

  int width() {
    return Math.ceilDiv(shape.headDim(), 32) * 32;
  }

  /** Whether elements have eight bits. */
  boolean inBytes() {
    return shape.dtype() == DType.INT8;
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
    to.set(JAVA_INT, 24, inBytes() ? 1 : 0);
    to.set(JAVA_INT, 28, 0);
  }
}
