package dev.baton.engine.model;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.DeviceHealth;
import dev.baton.device.KvCache;
import dev.baton.device.LogitScan;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import dev.baton.engine.ModelInfo;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * The model on its ranks. Owns device, ranks and all memory. {@link #close} waits for packs and
 * unpacks in progress; later ones throw IllegalStateException.
 */
final class RankedModelRunner implements ModelRunner {

  private final ModelInfo model;
  private final Device device;
  private final Ranks ranks;
  private final List<Shard> shards;
  private final List<KvCache> caches;
  private final StepBatch batch;
  private final Tensor logits;

  /** Where Java reads the logits. */
  private final MemorySegment mirror;

  /** The first so many rows of the logits; made once, for a step makes no objects. */
  private final MemorySegment[] rows;

  private final LogitScan logitScan;
  private final Ranks.Task step;
  private final ForwardPass firstRank;
  private final int window;
  private final long swapBytes;

  /** Shared: packing and unpacking; exclusive: closing. */
  private final ReadWriteLock memory = new ReentrantReadWriteLock();

  private boolean closed;

  /**
   * @param passes by rank
   * @param caches by rank
   * @param logits {@code [logitRows, vocabulary]} float32
   * @param swapBytes host memory for copies of KV
   */
  RankedModelRunner(
      ModelInfo model,
      Device device,
      Ranks ranks,
      List<Shard> shards,
      List<ForwardPass> passes,
      List<KvCache> caches,
      StepBatch batch,
      Tensor logits,
      long swapBytes) {
    this.model = model;
    this.device = device;
    this.ranks = ranks;
    this.shards = List.copyOf(shards);
    this.caches = List.copyOf(caches);
    this.batch = batch;
    this.logits = logits;
    this.rows = new MemorySegment[Math.toIntExact(logits.rows()) + 1];
    long rowBytes = logits.columns() * DType.FLOAT32.bytes();
    this.mirror = device.mirror(logits);
    Arrays.setAll(rows, count -> mirror.asSlice(0, count * rowBytes));
    this.logitScan = device.openLogitScan();
    List<ForwardPass> program = List.copyOf(passes);
    this.window = MemoryPlan.window(shards.getFirst().config());
    this.swapBytes = swapBytes;
    this.firstRank = program.getFirst();
    this.step = rank -> program.get(rank).run();
  }

  @Override
  public ModelInfo model() {
    return model;
  }

  @Override
  public int blocks() {
    return caches.getFirst().shape().blocks();
  }

  @Override
  public int blockTokens() {
    return caches.getFirst().shape().blockTokens();
  }

  @Override
  public int window() {
    return window;
  }

  @Override
  public long swapBytes() {
    return swapBytes;
  }

  @Override
  public int logitRows() {
    return (int) logits.rows();
  }

  @Override
  public LogitScan logitScan() {
    return logitScan;
  }

  @Override
  public StepBatch batch() {
    return batch;
  }

  @Override
  public MemorySegment run() {
    if (batch.tokens() == 0) {
      throw new IllegalArgumentException("batch: empty (expected: at least one token)");
    }
    if (batch.logitRows() > logits.rows()) {
      throw new IllegalArgumentException(
          "batch: %d rows that need logits (expected: <= %d, what memory was planned for)"
              .formatted(batch.logitRows(), logits.rows()));
    }
    ranks.runAll(step);
    MemorySegment read = rows[batch.logitRows()];
    device.refresh(mirror, logits, read.byteSize());
    return read;
  }

  @Override
  public DeviceHealth health() {
    return device.health();
  }

  @Override
  public long progress() {
    return firstRank.layersRun();
  }

  @Override
  public void packKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
    checkSlab(region, slab);
    memory.readLock().lock();
    try {
      requireOpen();
      for (int rank = 0; rank < caches.size(); rank++) {
        if (shards.get(rank).firstHolder()) {
          device.packKv(caches.get(rank), blockTable, region, slab);
        }
      }
    } finally {
      memory.readLock().unlock();
    }
  }

  @Override
  public void unpackKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
    checkSlab(region, slab);
    memory.readLock().lock();
    try {
      requireOpen();
      for (KvCache cache : caches) {
        device.unpackKv(cache, blockTable, region, slab);
      }
    } finally {
      memory.readLock().unlock();
    }
  }

  private void checkSlab(SlabRegion region, MemorySegment slab) {
    if (region.layerTo() > model.layers()
        || region.headTo() > model.kvHeads()
        || region.headDim() != model.headDim()) {
      throw new IllegalArgumentException(
          "region: %s (expected: within %d layers, %d KV heads of %d)"
              .formatted(region, model.layers(), model.kvHeads(), model.headDim()));
    }
    if (slab.byteSize() < region.bytes()) {
      throw new IllegalArgumentException(
          "slab: %d bytes (expected: >= %d)".formatted(slab.byteSize(), region.bytes()));
    }
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("model runner: closed");
    }
  }

  @Override
  public void close() {
    memory.writeLock().lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
      ranks.close();
      device.close();
    } finally {
      memory.writeLock().unlock();
    }
  }
}
