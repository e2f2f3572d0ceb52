package dev.baton.engine.model;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.DeviceHealth;
import dev.baton.device.DeviceSlabs;
import dev.baton.device.KvCache;
import dev.baton.device.LogitScan;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import dev.baton.device.TokenChoice;
import dev.baton.engine.ModelInfo;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;

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

  /** The first so many rows of the logits, where Java reads them; made when first needed. */
  private final MemorySegment[] rows;

  /** Of a device that chooses tokens itself. */
  private final @Nullable TokenChoice choice;

  private final Ranks.Task step;
  private final Ranks.Task choosingStep;
  private final ForwardPass firstRank;
  private final int window;
  private final long swapBytes;
  private final long weightBytes;

  /** Shared: packing and unpacking; exclusive: closing. */
  private final ReadWriteLock memory = new ReentrantReadWriteLock();

  private final KvAhead ahead;
  private boolean closed;

  /**
   * @param passes by rank
   * @param caches by rank
   * @param logits {@code [logitRows, vocabulary]} float32
   * @param swapBytes host memory for copies of KV
   * @param weightBytes of all ranks together
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
      long swapBytes,
      long weightBytes) {
    this.model = model;
    this.weightBytes = weightBytes;
    this.device = device;
    this.ranks = ranks;
    this.shards = List.copyOf(shards);
    this.caches = List.copyOf(caches);
    this.batch = batch;
    this.logits = logits;
    this.rows = new MemorySegment[Math.toIntExact(logits.rows()) + 1];
    Arrays.fill(rows, MemorySegment.NULL);
    TokenChoice own =
        device.openTokenChoice(Math.toIntExact(logits.columns()), Math.toIntExact(logits.rows()));
    this.choice = own;
    List<ForwardPass> program = List.copyOf(passes);
    if (own != null) {
      program.forEach(pass -> pass.choose(own));
    }
    this.window = MemoryPlan.window(shards.getFirst().config());
    this.swapBytes = swapBytes;
    this.firstRank = program.getFirst();
    this.step = rank -> program.get(rank).run();
    this.choosingStep = rank -> program.get(rank).runAndChoose();
    this.ahead = new KvAhead(this.caches);
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
    return device.openLogitScan();
  }

  @Override
  public TokenChoice openChoice() {
    return choice == null ? ModelRunner.super.openChoice() : choice;
  }

  @Override
  public StepBatch batch() {
    return batch;
  }

  @Override
  public MemorySegment run() {
    requireRunnable();
    ranks.runAll(step);
    MemorySegment read = rows(batch.logitRows());
    device.refresh(rows[rows.length - 1], logits, read.byteSize());
    return read;
  }

  @Override
  public MemorySegment run(TokenChoice stepChoice) {
    if (stepChoice != choice) {
      return run();
    }
    requireRunnable();
    ranks.runAll(choosingStep);
    return MemorySegment.NULL;
  }

  private MemorySegment rows(int count) {
    if (rows[rows.length - 1].byteSize() == 0) {
      long rowBytes = logits.columns() * DType.FLOAT32.bytes();
      MemorySegment mirror = device.mirror(logits);
      Arrays.setAll(rows, each -> mirror.asSlice(0, each * rowBytes));
    }
    return rows[count];
  }

  private void requireRunnable() {
    if (batch.tokens() == 0) {
      throw new IllegalArgumentException("batch: empty (expected: at least one token)");
    }
    if (batch.logitRows() > logits.rows()) {
      throw new IllegalArgumentException(
          "batch: %d rows that need logits (expected: <= %d, what memory was planned for)"
              .formatted(batch.logitRows(), logits.rows()));
    }
  }

  @Override
  public DeviceHealth health() {
    return device.health();
  }

  @Override
  public double joules() {
    return device.joules();
  }

  @Override
  public @Nullable DeviceSlabs slabs() {
    return device.slabs();
  }

  @Override
  public long weightBytes() {
    return weightBytes;
  }

  @Override
  public void expectBlocks(int expected) {
    ahead.expect(expected);
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
    ahead.close();
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
