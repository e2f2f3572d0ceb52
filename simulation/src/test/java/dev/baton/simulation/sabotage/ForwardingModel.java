package dev.baton.simulation.sabotage;

import dev.baton.device.LogitScan;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.model.ModelRunner;
import java.lang.foreign.MemorySegment;

/** Passes everything on. */
class ForwardingModel implements ModelRunner {

  private final ModelRunner inner;

  ForwardingModel(ModelRunner inner) {
    this.inner = inner;
  }

  @Override
  public ModelInfo model() {
    return inner.model();
  }

  @Override
  public int blocks() {
    return inner.blocks();
  }

  @Override
  public int blockTokens() {
    return inner.blockTokens();
  }

  @Override
  public int window() {
    return inner.window();
  }

  @Override
  public long swapBytes() {
    return inner.swapBytes();
  }

  @Override
  public int logitRows() {
    return inner.logitRows();
  }

  @Override
  public LogitScan logitScan() {
    return inner.logitScan();
  }

  @Override
  public StepBatch batch() {
    return inner.batch();
  }

  @Override
  public MemorySegment run() {
    return inner.run();
  }

  @Override
  public void packKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
    inner.packKv(blockTable, region, slab);
  }

  @Override
  public void unpackKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
    inner.unpackKv(blockTable, region, slab);
  }

  @Override
  public void close() {
    inner.close();
  }
}
