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

/**
 * KV in the blocks of the production device, as one rank of a worker has it, without a model:
 * packed and unpacked by the same kernels. Content is whatever the importer's side was given.
 */
final class BlockKv implements KvSource, KvSink, AutoCloseable {
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
