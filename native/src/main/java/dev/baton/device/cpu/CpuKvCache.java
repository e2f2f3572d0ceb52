package dev.baton.device.cpu;

import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import java.lang.foreign.MemorySegment;

/**
 * Blocks as {@code [layer][block][kv head][keys, values]}, in tiles as the kernels read them: see
 * {@code kv_layout.h}.
 */
record CpuKvCache(KvShape shape, MemorySegment memory) implements KvCache {

  long layerAddress(int layer) {
    return memory.address() + shape.bytes() / shape.layers() * layer;
  }
}
