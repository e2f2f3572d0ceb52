package dev.baton.device.host;

import dev.baton.device.KvShape;
import dev.baton.device.SlabRegion;
import java.lang.foreign.MemorySegment;

/** What every device demands of a copy of KV between blocks and a slab. */
public final class KvCopyCheck {

  private KvCopyCheck() {}

  /** Throws when the copy would leave the cache, the table or the slab. */
  public static void require(
      KvShape shape, int[] blockTable, SlabRegion region, MemorySegment slab) {
    if (region.headDim() != shape.headDim()) {
      throw new IllegalArgumentException(
          "headDim: %d (expected: %d, the cache's)".formatted(region.headDim(), shape.headDim()));
    }
    if (region.layerTo() > shape.layers()) {
      throw new IllegalArgumentException(
          "layerTo: %d (expected: at most %d)".formatted(region.layerTo(), shape.layers()));
    }
    if (region.tokenTo() > (long) blockTable.length * shape.blockTokens()) {
      throw new IllegalArgumentException(
          "tokenTo: %d (expected: at most %d, what %d blocks hold)"
              .formatted(
                  region.tokenTo(),
                  (long) blockTable.length * shape.blockTokens(),
                  blockTable.length));
    }
    if (slab.byteSize() < region.bytes()) {
      throw new IllegalArgumentException(
          "slab: %d bytes (expected: at least %d)".formatted(slab.byteSize(), region.bytes()));
    }
    int firstBlock = region.tokenFrom() / shape.blockTokens();
    int lastBlock = (region.tokenTo() - 1) / shape.blockTokens();
    for (int i = firstBlock; i <= lastBlock; i++) {
      if (blockTable[i] < 0 || blockTable[i] >= shape.blocks()) {
        throw new IllegalArgumentException(
            "blockTable[%d]: %d (expected: 0 to %d)"
                .formatted(i, blockTable[i], shape.blocks() - 1));
      }
    }
  }
}
