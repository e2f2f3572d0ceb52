package dev.baton.engine;

import dev.baton.device.SlabRegion;
import dev.baton.engine.cache.SwapSpace;
import dev.baton.engine.model.ModelRunner;
import dev.baton.engine.schedule.Pace;
import java.lang.foreign.MemorySegment;
import java.util.function.LongSupplier;

/**
 * Copies KV of all layers, heads and ranks between blocks and pages of the swap space, in the
 * cache's own dtype and so exactly; the pace learns what that costs. Step thread only.
 */
final class KvCopies implements SwapSpace.Copier {

  private final ModelRunner runner;
  private final Pace pace;
  private final LongSupplier nanoTime;

  KvCopies(ModelRunner runner, Pace pace, LongSupplier nanoTime) {
    this.runner = runner;
    this.pace = pace;
    this.nanoTime = nanoTime;
  }

  /** Bytes of a page of one block. */
  static long pageBytes(ModelRunner runner) {
    return region(runner.model(), 0, runner.blockTokens()).bytes();
  }

  @Override
  public void copyOut(int[] blocks, int from, int to, MemorySegment page) {
    SlabRegion region = region(runner.model(), from, to);
    long begun = nanoTime.getAsLong();
    runner.packKv(blocks, region, page);
    pace.copied(region.bytes(), nanoTime.getAsLong() - begun);
  }

  @Override
  public void copyIn(int[] blocks, int from, int to, MemorySegment page) {
    SlabRegion region = region(runner.model(), from, to);
    long begun = nanoTime.getAsLong();
    runner.unpackKv(blocks, region, page);
    pace.copied(region.bytes(), nanoTime.getAsLong() - begun);
  }

  private static SlabRegion region(ModelInfo model, int from, int to) {
    return new SlabRegion(
        0, model.layers(), 0, model.kvHeads(), from, to, model.headDim(), model.kvDtype());
  }
}
