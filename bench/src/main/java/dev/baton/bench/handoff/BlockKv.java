package dev.baton.bench.handoff;

import dev.baton.device.Device;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import dev.baton.device.SlabRegion;
import dev.baton.device.cpu.CpuDevice;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvSource;
import dev.baton.kvtransfer.SlabRange;
import java.lang.foreign.MemorySegment;
import java.util.stream.IntStream;
import java.util.zip.CRC32C;

/**
 * KV in the blocks of the production device, as one rank of a worker has it, without a model:
 * packed and unpacked by the same kernels. Content is whatever the importer's side was given.
 */
final class BlockKv implements KvSource, KvSink, AutoCloseable {
  /** Tokens of a slab, as the exporter cuts them. */
  private static final int TILE = 64;

  /** Nanoseconds of copying, and of checksums. */
  record Parts(long copied, long summed) {}

  private final HandoffPlan plan;
  private final Device device = CpuDevice.open();
  private final KvCache cache;
  private final int[] blocks;

  BlockKv(HandoffPlan plan, int blockTokens) {
    this.plan = plan;
    int count = Math.ceilDiv(plan.tokens(), blockTokens);
    this.cache =
        device.allocateKvCache(
            new KvShape(
                plan.layers(),
                count,
                blockTokens,
                0,
                plan.kvHeads(),
                plan.headDim(),
                plan.dtype()));
    this.blocks = IntStream.range(0, count).map(i -> count - 1 - i).toArray();
  }

  @Override
  public void pack(SlabRange range, MemorySegment slab) {
    device.packKv(cache, blocks, region(range), slab);
  }

  @Override
  public void unpack(SlabRange range, MemorySegment slab) {
    device.unpackKv(cache, blocks, region(range), slab);
  }

  /**
   * Nanoseconds of what a side does with its KV apart from the wire, on the calling thread: all of
   * the plan's slabs through one slab's memory, packed or unpacked, then a checksum of each.
   */
  Parts parts(boolean exporter, MemorySegment slab) {
    long copied = 0;
    long summed = 0;
    int tokens = Math.min(plan.tokens(), TILE);
    int layers =
        Math.toIntExact(Math.min(plan.layers(), slab.byteSize() / (tokens * layerToken())));
    for (int token = 0; token + tokens <= plan.tokens(); token += tokens) {
      for (int layer = 0; layer < plan.layers(); layer += layers) {
        int end = Math.min(plan.layers(), layer + layers);
        SlabRange range = new SlabRange(layer, end, token, token + tokens);
        MemorySegment payload = slab.asSlice(0, plan.geometry().bytes(range));
        long begun = System.nanoTime();
        if (exporter) {
          pack(range, payload);
        } else {
          unpack(range, payload);
        }
        long between = System.nanoTime();
        CRC32C sum = new CRC32C();
        sum.update(payload.asByteBuffer());
        copied += between - begun;
        summed += System.nanoTime() - between;
      }
    }
    return new Parts(copied, summed);
  }

  private long layerToken() {
    return plan.geometry().bytesPerLayerToken();
  }

  private SlabRegion region(SlabRange range) {
    return new SlabRegion(
        range.layerFrom(),
        range.layerTo(),
        0,
        plan.kvHeads(),
        range.tokenFrom(),
        range.tokenTo(),
        plan.headDim(),
        plan.dtype());
  }

  @Override
  public void close() {
    device.close();
  }
}
