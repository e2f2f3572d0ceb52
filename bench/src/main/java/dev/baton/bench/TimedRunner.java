package dev.baton.bench;

import dev.baton.device.LogitScan;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.device.TokenChoice;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.model.ModelRunner;
import java.lang.foreign.MemorySegment;

/**
 * Adds up the time of forward passes, so that what the engine does outside them can be told. Used
 * by the step thread alone; owns the runner that it wraps.
 */
final class TimedRunner implements ModelRunner {

  private final ModelRunner runner;
  private long forwardNanos;
  private long steps;

  TimedRunner(ModelRunner runner) {
    this.runner = runner;
  }

  /** Nanoseconds in {@link #run} so far. */
  long forwardNanos() {
    return forwardNanos;
  }

  /** Calls of {@link #run} so far. */
  long steps() {
    return steps;
  }

  @Override
  public TokenChoice openChoice() {
    return runner.openChoice();
  }

  @Override
  public MemorySegment run() {
    return runner.run();
  }

  @Override
  public MemorySegment run(TokenChoice choice) {
    long begun = System.nanoTime();
    MemorySegment logits = runner.run(choice);
    forwardNanos += System.nanoTime() - begun;
    steps++;
    return logits;
  }

  @Override
  public ModelInfo model() {
    return runner.model();
  }

  @Override
  public int blocks() {
    return runner.blocks();
  }

  @Override
  public int blockTokens() {
    return runner.blockTokens();
  }

  @Override
  public int window() {
    return runner.window();
  }

  @Override
  public long swapBytes() {
    return runner.swapBytes();
  }

  @Override
  public int logitRows() {
    return runner.logitRows();
  }

  @Override
  public LogitScan logitScan() {
    return runner.logitScan();
  }

  @Override
  public StepBatch batch() {
    return runner.batch();
  }

  @Override
  public void packKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
    runner.packKv(blockTable, region, slab);
  }

  @Override
  public void unpackKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
    runner.unpackKv(blockTable, region, slab);
  }

  @Override
  public void close() {
    runner.close();
  }
}
