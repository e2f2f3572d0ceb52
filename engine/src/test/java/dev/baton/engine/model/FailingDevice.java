package dev.baton.engine.model;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.DeviceMemory;
import dev.baton.device.GatedWeight;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import dev.baton.device.LinearWeight;
import dev.baton.device.LogitScan;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.Routing;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/** A device that works until the given number of weights is packed or caches are allocated. */
final class FailingDevice implements Device {

  private final Device device;
  private final AtomicInteger left;
  private final RuntimeException failure;

  FailingDevice(Device device, int works, RuntimeException failure) {
    this.device = device;
    this.left = new AtomicInteger(works);
    this.failure = failure;
  }

  private void work() {
    if (left.getAndDecrement() <= 0) {
      throw failure;
    }
  }

  @Override
  public String description() {
    return "failing " + device.description();
  }

  @Override
  public int maxHeadDim() {
    return device.maxHeadDim();
  }

  @Override
  public DeviceMemory memory() {
    return device.memory();
  }

  @Override
  public Tensor allocate(DType dtype, long rows, long columns) {
    return device.allocate(dtype, rows, columns);
  }

  @Override
  public void upload(Tensor to, long offset, MemorySegment from) {
    device.upload(to, offset, from);
  }

  @Override
  public void download(MemorySegment to, Tensor from, long offset) {
    device.download(to, from, offset);
  }

  @Override
  public long findUnusable(WeightSlice slice) {
    return device.findUnusable(slice);
  }

  @Override
  public Tensor convert(WeightSlice slice, DType dtype) {
    return device.convert(slice, dtype);
  }

  @Override
  public LinearWeight packLinear(WeightSlice slice, WeightFormat format, Parallelism parallelism) {
    work();
    return device.packLinear(slice, format, parallelism);
  }

  @Override
  public GatedWeight packGated(WeightSlice gate, WeightSlice up, WeightFormat format) {
    work();
    return device.packGated(gate, up, format);
  }

  @Override
  public KvCache allocateKvCache(KvShape shape) {
    work();
    return device.allocateKvCache(shape);
  }

  @Override
  public StepBatch allocateStepBatch(int maxTokens, int maxSequences, int maxBlocks) {
    return device.allocateStepBatch(maxTokens, maxSequences, maxBlocks);
  }

  @Override
  public Routing allocateRouting(int maxRows, int experts, int chosen) {
    return device.allocateRouting(maxRows, experts, chosen);
  }

  @Override
  public List<Ops> openRanks(int ranks) {
    return device.openRanks(ranks);
  }

  @Override
  public LogitScan openLogitScan() {
    return device.openLogitScan();
  }

  @Override
  public void packKv(KvCache cache, int[] blockTable, SlabRegion region, MemorySegment slab) {
    device.packKv(cache, blockTable, region, slab);
  }

  @Override
  public void unpackKv(KvCache cache, int[] blockTable, SlabRegion region, MemorySegment slab) {
    device.unpackKv(cache, blockTable, region, slab);
  }

  @Override
  public void close() {
    device.close();
  }
}
