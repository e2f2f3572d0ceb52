package dev.baton.device.cpu;

import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import java.lang.foreign.MemorySegment;

/**
 * Blocks as {@code [layer][block][kv head][keys, values]}: keys {@code [tile of 16 positions][dim]
 * [16]}, so that the scores of a tile are the lanes of a vector; values {@code [position][dim]}.
 */
record CpuKvCache(KvShape shape, MemorySegment memory) implements KvCache {

  long layerAddress(int layer) {
    return memory.address() + shape.bytes() / shape.layers() * layer;
  }
}
