package dev.baton.device.host;

import static dev.baton.device.DType.BFLOAT16;
import static dev.baton.device.DType.FLOAT16;
import static dev.baton.device.DType.FLOAT32;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.DeviceMemory;
import dev.baton.device.GatedWeight;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import dev.baton.device.LinearWeight;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.Routing;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * A device whose memory Java can read: owns the memory, checks what is asked for, leaves layouts
 * and arithmetic to its subclasses.
 *
 * @param <C> its kind of KV cache
 */
public abstract class HostDevice<C extends KvCache> implements Device {

  /** {@code 127 * 127} times as many is still an int. */
  private static final int MAX_BYTE_INPUTS = Integer.MAX_VALUE / (127 * 127);

  private final HostMemory memory;

  /** Held shared while KV is copied, which any thread may do at any time, alone by close. */
  private final ReadWriteLock life = new ReentrantReadWriteLock();

  private boolean closed;
  private final Class<C> cacheType;

  protected HostDevice(HostMemory memory, Class<C> cacheType) {
    this.memory = memory;
    this.cacheType = cacheType;
  }

  /** As {@link #findUnusable}. */
  protected abstract long firstUnusable(WeightSlice slice);

  /** Converts all of the slice into {@code to}, which has its size. */
  protected abstract void convertInto(Tensor to, WeightSlice slice);

  /**
   * @param borders of the slice's canonical ranges, from its first column
   */
  protected abstract LinearWeight pack(WeightSlice slice, WeightFormat format, int[] borders);

  /** Packs two slices of one size, with all their columns. */
  protected abstract GatedWeight packPairs(WeightSlice gate, WeightSlice up, WeightFormat format);

  /**
   * @param memory zeroed, {@code shape.bytes()} bytes
   */
  protected abstract C cache(KvShape shape, MemorySegment memory);

  protected abstract Ops openRank(RankGroup group, int rank);

  /**
   * Copies heads {@code [headFrom, headTo)} (model-wide) of the region between blocks and slab; all
   * numbers are checked.
   */
  protected abstract void copyKv(
      C cache,
      int[] blockTable,
      SlabRegion region,
      int headFrom,
      int headTo,
      MemorySegment slab,
      boolean toSlab);

  /** Ends the device's own threads; called once, before the memory is freed. */
  protected void stop() {}

  /** Memory for the subclass's own use. */
  protected final MemorySegment memory(long bytes, String what) {
    return memory.allocate(bytes, what);
  }

  @Override
  public final DeviceMemory memory() {
    return new DeviceMemory(MachineMemory.available(), 1, false);
  }

  @Override
  public final Tensor allocate(DType dtype, long rows, long columns) {
    if (rows < 0 || columns < 0) {
      throw new IllegalArgumentException(
          "tensor: [%d, %d] (expected: rows and columns >= 0)".formatted(rows, columns));
    }
    long bytes = Math.multiplyExact(Math.multiplyExact(rows, columns), dtype.bytes());
    String what = "tensor %s [%d, %d]".formatted(dtype, rows, columns);
    return new Tensor(dtype, rows, columns, memory.allocate(bytes, what));
  }

  @Override
  public final void upload(Tensor to, long offset, MemorySegment from) {
    MemorySegment.copy(from, 0, to.segment(), offset, from.byteSize());
  }

  @Override
  public final void download(MemorySegment to, Tensor from, long offset) {
    MemorySegment.copy(from.segment(), offset, to, 0, to.byteSize());
  }

  @Override
  public final long findUnusable(WeightSlice slice) {
    requireConvertible(slice);
    return firstUnusable(slice);
  }

  @Override
  public final Tensor convert(WeightSlice slice, DType dtype) {
    requireConvertible(slice);
    if (dtype != FLOAT32 && dtype != BFLOAT16) {
      throw new IllegalArgumentException(
          "dtype: %s (expected: FLOAT32 or BFLOAT16)".formatted(dtype));
    }
    Tensor to =
        allocate(dtype, slice.rowTo() - slice.rowFrom(), slice.columnTo() - slice.columnFrom());
    convertInto(to, slice);
    return to;
  }

  @Override
  public final LinearWeight packLinear(
      WeightSlice slice, WeightFormat format, Parallelism parallelism) {
    requireConvertible(slice);
    int[] borders = CanonicalRanges.of(slice, parallelism);
    requireExactSums(format, borders);
    return pack(slice, format, borders);
  }

  @Override
  public final GatedWeight packGated(WeightSlice gate, WeightSlice up, WeightFormat format) {
    for (WeightSlice slice : List.of(gate, up)) {
      requireConvertible(slice);
      requireExactSums(format, CanonicalRanges.of(slice, Parallelism.COLUMN));
    }
    if (gate.rowTo() - gate.rowFrom() != up.rowTo() - up.rowFrom()
        || gate.columns() != up.columns()) {
      throw new IllegalArgumentException(
          "gate: [%d, %d], up: [%d, %d] (expected: the same shape)"
              .formatted(
                  gate.rowTo() - gate.rowFrom(),
                  gate.columns(),
                  up.rowTo() - up.rowFrom(),
                  up.columns()));
    }
    return packPairs(gate, up, format);
  }

  @Override
  public final int maxHeadDim() {
    return CheckedOps.MAX_HEAD_DIM;
  }

  @Override
  public final KvCache allocateKvCache(KvShape shape) {
    if (shape.headDim() > CheckedOps.MAX_HEAD_DIM) {
      throw new IllegalArgumentException(
          "headDim: %d (expected: at most %d)".formatted(shape.headDim(), CheckedOps.MAX_HEAD_DIM));
    }
    return cache(
        shape, memory.allocate(shape.bytes(), "KV cache of %d blocks".formatted(shape.blocks())));
  }

  @Override
  public final StepBatch allocateStepBatch(int maxTokens, int maxSequences, int maxBlocks) {
    return new HostStepBatch(memory::allocate, maxTokens, maxSequences, maxBlocks);
  }

  @Override
  public final Routing allocateRouting(int maxRows, int experts, int chosen) {
    return new HostRouting(memory, maxRows, experts, chosen);
  }

  @Override
  public final List<Ops> openRanks(int ranks) {
    RankGroup group = new RankGroup(ranks);
    List<Ops> opened = new ArrayList<>();
    for (int rank = 0; rank < ranks; rank++) {
      opened.add(openRank(group, rank));
    }
    return List.copyOf(opened);
  }

  @Override
  public final void packKv(KvCache cache, int[] blockTable, SlabRegion region, MemorySegment slab) {
    copyChecked(cache, blockTable, region, slab, true);
  }

  @Override
  public final void unpackKv(
      KvCache cache, int[] blockTable, SlabRegion region, MemorySegment slab) {
    copyChecked(cache, blockTable, region, slab, false);
  }

  /** Waits for KV copies that are under way; later ones are refused. Again: no effect. */
  @Override
  public final void close() {
    life.writeLock().lock();
    try {
      if (!closed) {
        closed = true;
        stop();
        memory.close();
      }
    } finally {
      life.writeLock().unlock();
    }
  }

  private void copyChecked(
      KvCache cache, int[] blockTable, SlabRegion region, MemorySegment slab, boolean toSlab) {
    C own = CheckedOps.own("cache", cacheType, cache);
    KvShape shape = cache.shape();
    KvCopyCheck.require(shape, blockTable, region, slab);
    int headFrom = Math.max(region.headFrom(), shape.headFrom());
    int headTo = Math.min(region.headTo(), shape.headFrom() + shape.kvHeads());
    life.readLock().lock();
    try {
      if (closed) {
        throw new IllegalStateException("device: closed (expected: open while KV is copied)");
      }
      if (headFrom < headTo) {
        copyKv(own, blockTable, region, headFrom, headTo, slab, toSlab);
      }
    } finally {
      life.readLock().unlock();
    }
  }

  /** Sums of products of two bytes must fit 32 bits. */
  private static void requireExactSums(WeightFormat format, int[] borders) {
    if (format != WeightFormat.INT8 && format != WeightFormat.INT4) {
      return;
    }
    for (int i = 1; i < borders.length; i++) {
      int inputs = borders[i] - borders[i - 1];
      if (inputs > MAX_BYTE_INPUTS) {
        throw new IllegalArgumentException(
            "inputs: %d of one sum in %s (expected: at most %d; use BFLOAT16)"
                .formatted(inputs, format, MAX_BYTE_INPUTS));
      }
    }
  }

  private static void requireConvertible(WeightSlice slice) {
    DType from = slice.dtype();
    if (from != FLOAT32 && from != BFLOAT16 && from != FLOAT16) {
      throw new IllegalArgumentException(
          "slice: %s (expected: FLOAT32, BFLOAT16 or FLOAT16)".formatted(from));
    }
  }
}
