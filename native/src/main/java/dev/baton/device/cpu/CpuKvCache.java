package dev.baton.device.cpu;

import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.BooleanSupplier;

/**
 * Blocks as {@code [layer][block][kv head][keys, values]}, in tiles as the kernels read them: see
 * {@code kv_layout.h}.
 */
record CpuKvCache(KvShape shape, MemorySegment memory) implements KvCache {

  /**
   * A page comes from the node of the thread that first touches it: where there are several, that
   * is to be one that computes.
   */
  private static final boolean ONE_NODE = !Files.exists(Path.of("/sys/devices/system/node/node1"));

  long layerAddress(int layer) {
    return memory.address() + layerBytes() * layer;
  }

  private long layerBytes() {
    return shape.bytes() / shape.layers();
  }

  @Override
  public boolean comesWithUse() {
    return ONE_NODE;
  }

  @Override
  public void touch(int fromBlock, int toBlock, BooleanSupplier stop) {
    long blockBytes = layerBytes() / shape.blocks();
    for (int layer = 0; layer < shape.layers() && !stop.getAsBoolean(); layer++) {
      long from = layerBytes() * layer + blockBytes * fromBlock;
      CpuKernels.touch(memory.asSlice(from, blockBytes * (toBlock - fromBlock)));
    }
  }
}
