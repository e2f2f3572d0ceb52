package dev.baton.device.cuda;

import static dev.baton.device.DType.BFLOAT16;
import static dev.baton.device.DType.INT8;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.DeviceHealth;
import dev.baton.device.DeviceMemory;
import dev.baton.device.DeviceSlabs;
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
import dev.baton.device.StepShape;
import dev.baton.device.Tensor;
import dev.baton.device.TokenChoice;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.device.cpu.CpuDevice;
import dev.baton.device.host.CheckedOps;
import dev.baton.device.host.KvCopyCheck;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import jcuda.driver.CUstream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The GPUs of one worker, as one of its ranks sees them: what is allocated here lies on the rank's
 * own GPU. The device that {@link #open} returns is rank 0's and owns all of them; {@link #onRank}
 * gives those of the others. Weights are bfloat16, KV that or eight bits, sums float32.
 */
public final class CudaDevice implements Device {

  private static final Logger LOG = LoggerFactory.getLogger(CudaDevice.class);

  /** The arithmetic of the kernels in {@code src/main/cuda}. */
  private static final String NUMERICS = "cuda-1";

  /** Of kernels that run on the processor: their products' terms are added in another order. */
  private static final String EMULATED_NUMERICS = "cuda-1-emulated";

  /** Threads that copy KV of one rank at a time: one that packs, one that unpacks. */
  private static final int KV_STAGINGS = 2;

  /**
   * Biases, tables of routings and experts, numbers of rows, what tokens are chosen with: what
   * nobody counts one by one.
   */
  private static final long SMALL_THINGS = 32L << 20;

  /** Elements of a sum over ranks where no step shape was told. */
  private static final long UNPLANNED_REDUCTION = 1L << 20;

  /** What all ranks of a worker have together. */
  private static final class Group {
    final CudaDriver driver;
    final CudaOptions options;
    final Map<Integer, CudaGpu> gpus = new HashMap<>();
    final List<CudaDevice> devices = new ArrayList<>();
    final List<CudaOps> ops = new ArrayList<>();
    final ReadWriteLock life = new ReentrantReadWriteLock();
    final List<Nvml> watches = new ArrayList<>();
    boolean closed;

    /** On the first rank's GPU. */
    @Nullable CudaSlabs slabs;

    /** Looks at logits in host memory. */
    @Nullable Device scanner;

    Group(CudaDriver driver, CudaOptions options) {
      this.driver = driver;
      this.options = options;
    }
  }

  private final Group group;
  private final CudaGpu gpu;
  private final int rank;
  private final CUstream stream;
  private final CudaWeights weights;
  private final Stagings<KvStaging> kvStagings;
  private int singlesBudget = Integer.MAX_VALUE;

  /** Of the steps to come; null = nobody has told. */
  private @Nullable StepShape planned;

  private CudaDevice(Group group, CudaGpu gpu, int rank) {
    this.group = group;
    this.gpu = gpu;
    this.rank = rank;
    stream = gpu.setup();
    weights = new CudaWeights(gpu);
    kvStagings = new Stagings<>(KV_STAGINGS, () -> new KvStaging(gpu, planned));
  }

  /**
   * Opens the GPUs of a worker.
   *
   * @param ranks 1, 2, 4 or 8
   * @throws CudaUnavailableException when there is no GPU, driver or machine code for it
   */
  public static CudaDevice open(CudaOptions options, int ranks) {
    CudaDriver driver = CudaDriver.open(options.emulated());
    List<Integer> ordinals = options.gpusOf(ranks, driver.devices());
    Group group = new Group(driver, options);
    try {
      for (int rank = 0; rank < ranks; rank++) {
        CudaGpu gpu =
            group.gpus.computeIfAbsent(
                ordinals.get(rank),
                ordinal -> new CudaGpu(driver, ordinal, options.memoryUtilization()));
        group.devices.add(new CudaDevice(group, gpu, rank));
      }
      for (CudaGpu from : group.gpus.values()) {
        group.gpus.values().forEach(from::reach);
      }
      if (options.slabBytes() > 0) {
        CudaGpu first = group.devices.getFirst().gpu;
        group.slabs = new CudaSlabs(first, options.slabBytes(), KV_STAGINGS);
      }
      watch(group);
      if (options.library()) {
        LOG.warn(
            "products of {} rows and more are cuBLASLt's: the same request may have other bits in"
                + " another batch",
            Products.LIBRARY_ROWS);
      }
    } catch (RuntimeException e) {
      group.gpus.values().forEach(CudaGpu::close);
      throw e;
    }
    return group.devices.getFirst();
  }

  private static void watch(Group group) {
    try {
      for (CudaGpu gpu : group.gpus.values()) {
        group.watches.add(new Nvml("GPU " + gpu.ordinal(), gpu.busId(), group.driver.emulated()));
      }
    } catch (CudaUnavailableException e) {
      LOG.warn("health: {}", e.getMessage());
    }
  }

  @Override
  public String description() {
    StringBuilder text = new StringBuilder();
    text.append(group.driver.emulated() ? "emulated-cuda: " : "cuda: ");
    text.append(
        "driver for CUDA %d.%d, steps that only decode %s"
            .formatted(
                group.driver.version() / 1000,
                group.driver.version() % 1000 / 10,
                group.options.graphs() ? "recorded as graphs" : "not recorded"));
    for (CudaDevice each : group.devices) {
      text.append("; rank %d on GPU %s".formatted(each.rank, each.gpu.description()));
    }
    return text.toString();
  }

  @Override
  public String numerics(WeightFormat weights) {
    String own = group.driver.emulated() ? EMULATED_NUMERICS : NUMERICS;
    return group.options.library() ? own + "-cublaslt" : own;
  }

  @Override
  public boolean supports(WeightFormat format) {
    return format == WeightFormat.BFLOAT16;
  }

  @Override
  public int maxHeadDim() {
    return CudaOps.MAX_HEAD_DIM;
  }

  @Override
  public boolean supportsKv(DType dtype) {
    return dtype == BFLOAT16 || dtype == INT8;
  }

  @Override
  public boolean makesRandom() {
    return true;
  }

  @Override
  public Device onRank(int ofRank) {
    return group.devices.get(ofRank);
  }

  /** Without NVIDIA's management library nothing is known. */
  @Override
  public DeviceHealth health() {
    group.life.readLock().lock();
    try {
      return group.closed
          ? DeviceHealth.UNKNOWN
          : new DeviceHealth(group.watches.stream().map(Nvml::look).toList());
    } finally {
      group.life.readLock().unlock();
    }
  }

  /** Of all its GPUs, when each of them tells. */
  @Override
  public double joules() {
    group.life.readLock().lock();
    try {
      double all = 0;
      for (Nvml watch : group.closed ? List.<Nvml>of() : group.watches) {
        double own = watch.joules();
        if (own < 0) {
          return -1;
        }
        all += own;
      }
      return group.closed || group.watches.isEmpty() ? -1 : all;
    } finally {
      group.life.readLock().unlock();
    }
  }

  @Override
  public DeviceMemory memory() {
    long least = Long.MAX_VALUE;
    for (CudaDevice each : group.devices) {
      long sharing = group.devices.stream().filter(other -> other.gpu == each.gpu).count();
      least = Math.min(least, (each.gpu.budget() - each.gpu.handedOut()) / sharing);
    }
    int ranks = group.devices.size();
    return new DeviceMemory(least * ranks, ranks, true);
  }

  @Override
  public long workspaceBytes(StepShape shape) {
    StepSizes sizes = StepSizes.of(shape, group.options.library());
    return SMALL_THINGS
        + sizes.bytes()
        + (group.devices.size() > 1 ? CudaReduction.bytes(sizes.reductionElements()) : 0)
        + CudaWeights.bytes()
        + KV_STAGINGS * KvStaging.bytes();
  }

  @Override
  public void reserve(StepShape shape) {
    planned = shape;
    singlesBudget = StepSizes.singlesBudget(shape);
  }

  @Override
  public Tensor allocate(DType dtype, long rows, long columns) {
    if (rows < 0 || columns < 0) {
      throw new IllegalArgumentException(
          "tensor: [%d, %d] (expected: rows and columns >= 0)".formatted(rows, columns));
    }
    long bytes = Math.multiplyExact(Math.multiplyExact(rows, columns), dtype.bytes());
    String what = "tensor %s [%d, %d]".formatted(dtype, rows, columns);
    return new Tensor(dtype, rows, columns, gpu.allocate(bytes, what));
  }

  @Override
  public void upload(Tensor to, long offset, MemorySegment from) {
    requireWithin(to, offset, from.byteSize());
    if (from.byteSize() == 0) {
      return;
    }
    settle();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment source =
          from.isNative() ? from : arena.allocate(from.byteSize(), 8).copyFrom(from);
      group.driver.upload(to.address() + offset, source, stream);
      group.driver.synchronize(stream);
    }
  }

  @Override
  public void download(MemorySegment to, Tensor from, long offset) {
    requireWithin(from, offset, to.byteSize());
    if (to.byteSize() == 0) {
      return;
    }
    settle();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment target = to.isNative() ? to : arena.allocate(to.byteSize(), 8);
      group.driver.download(target, from.address() + offset, stream);
      group.driver.synchronize(stream);
      if (!to.isNative()) {
        to.copyFrom(target);
      }
    }
  }

  private static void requireWithin(Tensor tensor, long offset, long bytes) {
    if (offset < 0 || bytes > tensor.bytes() - offset) {
      throw new IndexOutOfBoundsException(
          "copy: %d bytes at %d (expected: within %d)".formatted(bytes, offset, tensor.bytes()));
    }
  }

  /** What ranks were told to do before is done. */
  private void settle() {
    List<CudaOps> running;
    synchronized (group) {
      running = List.copyOf(group.ops);
    }
    running.forEach(CudaOps::await);
    gpu.bind();
  }

  @Override
  public MemorySegment mirror(Tensor tensor) {
    return gpu.pinned(tensor.bytes());
  }

  @Override
  public void refresh(MemorySegment mirror, Tensor tensor, long bytes) {
    if (bytes > 0) {
      gpu.bind();
      group.driver.download(mirror.asSlice(0, bytes), tensor.address(), stream);
      group.driver.synchronize(stream);
    }
  }

  /** Told while the slice is converted or packed: to look at it twice would cost the link twice. */
  @Override
  public long findUnusable(WeightSlice slice) {
    WeightStaging.code(slice.dtype());
    return -1;
  }

  @Override
  public Tensor convert(WeightSlice slice, DType dtype) {
    return weights.convert(slice, dtype);
  }

  @Override
  public LinearWeight packLinear(WeightSlice slice, WeightFormat format, Parallelism parallelism) {
    return weights.packLinear(slice, format, parallelism);
  }

  @Override
  public GatedWeight packGated(WeightSlice gate, WeightSlice up, WeightFormat format) {
    return weights.packGated(gate, up, format);
  }

  @Override
  public KvCache allocateKvCache(KvShape shape) {
    if (shape.headDim() > CudaOps.MAX_HEAD_DIM) {
      throw new IllegalArgumentException(
          "headDim: %d on a GPU (expected: at most %d; the CPU takes more)"
              .formatted(shape.headDim(), CudaOps.MAX_HEAD_DIM));
    }
    if (!supportsKv(shape.dtype())) {
      throw new IllegalArgumentException(
          "KV: %s on a GPU (expected: BFLOAT16 or INT8)".formatted(shape.dtype()));
    }
    return new CudaKvCache(
        shape, gpu.allocate(shape.bytes(), "KV cache of %d blocks".formatted(shape.blocks())));
  }

  @Override
  public StepBatch allocateStepBatch(int maxTokens, int maxSequences, int maxBlocks) {
    return new CudaStepBatch(
        gpu.pinned(CudaStepBatch.bytes(maxTokens, maxSequences, maxBlocks)),
        maxTokens,
        maxSequences,
        maxBlocks,
        singlesBudget);
  }

  @Override
  public Routing allocateRouting(int maxRows, int experts, int chosen) {
    return new CudaRouting(gpu, maxRows, experts, chosen);
  }

  @Override
  public List<Ops> openRanks(int ranks) {
    if (ranks != group.devices.size()) {
      throw new IllegalArgumentException(
          "ranks: %d (expected: %d, those that the device was opened for)"
              .formatted(ranks, group.devices.size()));
    }
    StepShape shape = planned;
    StepSizes sizes = shape == null ? null : StepSizes.of(shape, group.options.library());
    CudaReduction reduction =
        new CudaReduction(
            group.devices.stream().map(device -> device.gpu).toList(),
            sizes == null ? UNPLANNED_REDUCTION : sizes.reductionElements());
    CudaSlabs slabs = group.slabs;
    if (slabs != null) {
      slabs.makeAll();
    }
    List<Ops> opened = new ArrayList<>();
    for (CudaDevice each : group.devices) {
      CudaOps ops = new CudaOps(each.gpu, reduction, each.rank, ranks, group.options);
      if (sizes != null) {
        ops.prepare(sizes);
        each.kvStagings.makeAll();
      }
      opened.add(ops);
      synchronized (group) {
        group.ops.add(ops);
      }
    }
    return List.copyOf(opened);
  }

  @Override
  public TokenChoice openTokenChoice(int vocabulary, int maxRows) {
    CudaTokenChoice choice = new CudaTokenChoice(group.devices.getFirst().gpu, vocabulary, maxRows);
    synchronized (group) {
      group.ops.forEach(ops -> ops.open(choice));
    }
    return choice;
  }

  @Override
  public LogitScan openLogitScan() {
    synchronized (group) {
      Device scanner = group.scanner;
      if (scanner == null) {
        scanner = CpuDevice.open();
        group.scanner = scanner;
      }
      return scanner.openLogitScan();
    }
  }

  @Override
  public @Nullable DeviceSlabs slabs() {
    return group.slabs;
  }

  @Override
  public void packKv(KvCache cache, int[] blockTable, SlabRegion region, MemorySegment slab) {
    copyKv(cache, blockTable, region, slab, true);
  }

  @Override
  public void unpackKv(KvCache cache, int[] blockTable, SlabRegion region, MemorySegment slab) {
    copyKv(cache, blockTable, region, slab, false);
  }

  private void copyKv(
      KvCache cache, int[] blockTable, SlabRegion region, MemorySegment slab, boolean toSlab) {
    CudaKvCache own = CheckedOps.own("cache", CudaKvCache.class, cache);
    KvShape shape = own.shape();
    KvCopyCheck.require(shape, blockTable, region, slab);
    int headFrom = Math.max(region.headFrom(), shape.headFrom());
    int headTo = Math.min(region.headTo(), shape.headFrom() + shape.kvHeads());
    if (headFrom >= headTo) {
      return;
    }
    group.life.readLock().lock();
    try {
      if (group.closed) {
        throw new IllegalStateException("device: closed (expected: open while KV is copied)");
      }
      CudaDevice home = home(own);
      CudaSlabs slabs = group.slabs;
      boolean direct = slabs != null && slabs.holds(slab);
      home.kvStagings.use(
          staging -> {
            if (direct) {
              staging.copyDirectly(own, blockTable, region, headFrom, headTo, slab, toSlab);
            } else {
              staging.copy(own, blockTable, region, headFrom, headTo, slab, toSlab);
            }
          });
    } finally {
      group.life.readLock().unlock();
    }
  }

  /** The rank whose GPU the cache lies on. */
  private CudaDevice home(CudaKvCache cache) {
    for (CudaDevice each : group.devices) {
      if (each.gpu.holds(cache.memory())) {
        return each;
      }
    }
    throw new IllegalArgumentException("cache: of another device (expected: of this one)");
  }

  /** Waits for KV copies that are under way; later ones are refused. Again: no effect. */
  @Override
  public void close() {
    group.life.writeLock().lock();
    try {
      if (!group.closed) {
        group.closed = true;
        group.ops.forEach(CudaOps::close);
        if (group.scanner != null) {
          group.scanner.close();
        }
        group.watches.forEach(Nvml::close);
        group.gpus.values().forEach(CudaGpu::close);
      }
    } finally {
      group.life.writeLock().unlock();
    }
  }
}
