package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.GatedWeight;
import dev.baton.device.KvShape;
import dev.baton.device.LogitScan;
import dev.baton.device.Ops;
import dev.baton.device.SlabRegion;
import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.device.host.HostDevice;
import dev.baton.device.host.HostMemory;
import dev.baton.device.host.NativeLibrary;
import dev.baton.device.host.RankGroup;
import dev.baton.device.reference.ReferenceDevice;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The CPU with kernels in C++. Takes the fastest tier of instructions that the processor runs, or
 * the one that the environment variable {@code BATON_ISA} names; all give the same bits.
 */
public final class CpuDevice extends HostDevice<CpuKvCache> {

  /** The value of {@code BATON_ISA} that means no native code at all. */
  private static final String REFERENCE = "reference";

  static final NativeLibrary KERNELS =
      new NativeLibrary("libbaton_cpu.so", "BATON_ISA=" + REFERENCE);

  private static final long LINE = 64;

  /** In the names of its threads, where ranks have their numbers. */
  private static final int SCAN_TEAM = 99;

  private final CpuKernels kernels;
  private final String reason;
  private final String threads;
  private final long partNanos;

  /** Of all ranks; guarded by itself. */
  private final List<CpuTeam> teams = new ArrayList<>();

  /**
   * The team of a rank that has all processors; its threads are still awake when the logits come.
   */
  private volatile @Nullable CpuTeam onlyRank;

  private final Rapl rapl = new Rapl(Path.of("/sys/class/powercap"));

  private CpuDevice(CpuKernels kernels, String reason, String threads, long partNanos) {
    super(new HostMemory(new HugePages()), CpuKvCache.class);
    this.kernels = kernels;
    this.reason = reason;
    this.threads = threads;
    this.partNanos = partNanos;
    CpuTeam.threads(threads, 1, 1); // a wrong setting fails here, not at the first rank
  }

  /**
   * Where host memory that is read and written in pieces of some hundred KiB should come from: huge
   * pages where there are any. Each gives out memory for one arena. Any thread.
   */
  public static HostMemory.Pages pages() {
    return KERNELS.exists() ? new HugePages() : (arena, bytes) -> arena.allocate(bytes, LINE);
  }

  /**
   * Opens the CPU: with native kernels, or as the plain Java reference where the build has none for
   * this platform or {@code BATON_ISA=reference} asks for it.
   *
   * <p>Each rank has as many threads as its share of the processors, or as {@code BATON_THREADS}
   * says.
   *
   * @throws IllegalArgumentException when {@code BATON_ISA} names no tier, or one that this
   *     processor does not run, or {@code BATON_THREADS} is no number from 1 to 256
   */
  public static Device open() {
    return open(System.getenv("BATON_ISA"));
  }

  private static Device open(@Nullable String isa) {
    return open(isa, System.getenv(CpuTeam.VARIABLE), CpuTeam.PART_NANOS);
  }

  /**
   * @param isa the tier to take; null or empty = the fastest
   * @param threads of each rank; null or empty = its share of the processors
   * @param partNanos the least work that is given to a thread
   */
  static Device open(@Nullable String isa, @Nullable String threads, long partNanos) {
    String forThreads = threads == null ? "" : threads;
    String forced = isa == null ? "" : isa;
    if (forced.equals(REFERENCE) || (forced.isEmpty() && !KERNELS.exists())) {
      return ReferenceDevice.open();
    }
    List<String> tiers = loadedTiers();
    if (!forced.isEmpty() && !tiers.contains(forced)) {
      throw new IllegalArgumentException(
          "BATON_ISA: %s (expected: %s or one of %s)".formatted(forced, REFERENCE, tiers));
    }
    List<String> running = runningTiers();
    if (forced.isEmpty()) {
      return new CpuDevice(
          new CpuKernels(running.getLast()),
          "the fastest of " + running + " that run here",
          forThreads,
          partNanos);
    }
    requireRunning(forced, running);
    return new CpuDevice(
        new CpuKernels(forced),
        "forced by BATON_ISA; the fastest here is " + running.getLast(),
        forThreads,
        partNanos);
  }

  static void requireRunning(String forced, List<String> running) {
    if (!running.contains(forced)) {
      throw new IllegalArgumentException(
          "BATON_ISA: %s (expected: one that this processor runs, %s or one of %s)"
              .formatted(forced, REFERENCE, running));
    }
  }

  /** Loads the library at the first call; says plainly why when that fails. */
  private static List<String> loadedTiers() {
    try {
      return CpuKernels.tiers();
    } catch (ExceptionInInitializerError e) {
      if (e.getCause() instanceof RuntimeException cause) {
        throw cause;
      }
      throw e;
    }
  }

  /** Tiers that this processor runs, from the slowest to the fastest. */
  static List<String> runningTiers() {
    List<String> running = new ArrayList<>(CpuKernels.tiers());
    running.removeIf(tier -> !CpuKernels.runs(tier));
    return List.copyOf(running);
  }

  /** What this processor does at best with the tier that the device runs on. */
  public CpuCeilings ceilings() {
    return new CpuCeilings(kernels);
  }

  @Override
  public double joules() {
    return rapl.joules();
  }

  @Override
  public String description() {
    return "cpu: %s kernels (%s), %d processors, threads per rank: %s"
        .formatted(
            kernels.tier(),
            reason,
            Runtime.getRuntime().availableProcessors(),
            threads.isEmpty() ? "processors / ranks" : threads + " by " + CpuTeam.VARIABLE);
  }

  /** How the kernels name a dtype. */
  static int code(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> 0;
      case BFLOAT16 -> 1;
      case FLOAT16 -> 2;
      case INT8 -> 3;
      case INT32 ->
          throw new IllegalArgumentException(
              "dtype: %s (expected: a float type or INT8)".formatted(dtype));
    };
  }

  @Override
  protected long firstUnusable(WeightSlice slice) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment found = arena.allocate(JAVA_LONG);
      kernels.findUnusable(
          found.address(),
          start(slice, arena),
          code(slice.dtype()),
          slice.columns(),
          slice.rowTo() - slice.rowFrom(),
          slice.columnTo() - slice.columnFrom());
      return found.get(JAVA_LONG, 0);
    }
  }

  @Override
  protected void convertInto(Tensor to, WeightSlice slice) {
    try (Arena arena = Arena.ofConfined()) {
      kernels.convert(
          to.address(),
          code(to.dtype()),
          start(slice, arena),
          code(slice.dtype()),
          slice.columns(),
          slice.rowTo() - slice.rowFrom(),
          slice.columnTo() - slice.columnFrom());
    }
  }

  @Override
  protected CpuLinearWeight pack(WeightSlice slice, WeightFormat format, int[] borders) {
    int outputs = slice.rowTo() - slice.rowFrom();
    CpuLinearWeight weight = emptyWeight(outputs, CpuLinearWeight.groups(outputs), format, borders);
    packGroups(weight, slice, 0, 1);
    return weight;
  }

  @Override
  protected GatedWeight packPairs(WeightSlice gate, WeightSlice up, WeightFormat format) {
    int outputs = gate.rowTo() - gate.rowFrom();
    int[] borders = {0, gate.columns()};
    int pairs = CpuLinearWeight.groups(outputs);
    CpuLinearWeight both =
        emptyWeight(2 * pairs * CpuLinearWeight.GROUP, 2 * pairs, format, borders);
    packGroups(both, gate, 0, 2);
    packGroups(both, up, 1, 2);
    return new CpuGatedWeight(outputs, both);
  }

  private CpuLinearWeight emptyWeight(int outputs, int groups, WeightFormat format, int[] borders) {
    int ranges = borders.length - 1;
    int inputs = borders[ranges];
    int tiles = CpuLinearWeight.tiles(borders, format);
    String what = "weight %s [%d, %d]".formatted(format, outputs, inputs);
    MemorySegment starts = memory(4L * borders.length, what);
    MemorySegment.copy(borders, 0, starts, JAVA_INT, 0, borders.length);
    MemorySegment packed = memory(CpuLinearWeight.packedBytes(groups, inputs, tiles, format), what);
    return new CpuLinearWeight(outputs, inputs, format, ranges, starts, tiles, packed);
  }

  /** Packs the slice's groups of outputs as groups {@code first, first + step, ...} of a weight. */
  private void packGroups(CpuLinearWeight weight, WeightSlice slice, int first, int step) {
    int outputs = slice.rowTo() - slice.rowFrom();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment from = start(slice, arena);
      int stored = code(slice.dtype());
      switch (weight.format()) {
        case FLOAT32 ->
            kernels.packLinear(
                weight.packed().address(),
                from,
                stored,
                slice.columns(),
                outputs,
                weight.inputs(),
                first,
                step);
        case BFLOAT16 ->
            kernels.packTiles(
                weight.packed().address(),
                from,
                stored,
                slice.columns(),
                weight.borders().address(),
                weight.ranges(),
                outputs,
                first,
                step);
        case INT8 ->
            kernels.packInt8(
                weight.packed().address(),
                weight.scalesAddress(),
                start(wholeRows(slice), arena),
                stored,
                slice.columns(),
                slice.columns(),
                slice.columnFrom(),
                weight.borders().address(),
                weight.ranges(),
                outputs,
                first,
                step);
        case INT4 ->
            kernels.packInt4(
                weight.packed().address(),
                weight.scalesAddress(),
                start(wholeRows(slice), arena),
                stored,
                slice.columns(),
                slice.columns(),
                slice.columnFrom(),
                weight.borders().address(),
                weight.ranges(),
                outputs,
                first,
                step);
      }
    }
  }

  /** The scale of a quantized output is that of its whole row, whatever columns are packed. */
  private static WeightSlice wholeRows(WeightSlice slice) {
    return new WeightSlice(
        slice.data(),
        slice.dtype(),
        slice.rows(),
        slice.columns(),
        slice.rowFrom(),
        slice.rowTo(),
        0,
        slice.columns());
  }

  /** The slice's first element and all after it, copied to {@code arena} when on the heap. */
  private static MemorySegment start(WeightSlice slice, Arena arena) {
    long first = (long) slice.rowFrom() * slice.columns() + slice.columnFrom();
    return outsideHeap(
        slice.data().asSlice(Math.min(first * slice.dtype().bytes(), slice.data().byteSize())),
        arena);
  }

  private static MemorySegment outsideHeap(MemorySegment segment, Arena arena) {
    return segment.isNative() ? segment : arena.allocate(segment.byteSize(), 8).copyFrom(segment);
  }

  @Override
  protected CpuKvCache cache(KvShape shape, MemorySegment memory) {
    return new CpuKvCache(shape, memory);
  }

  @Override
  protected Ops openRank(RankGroup group, int rank) {
    int processors = Runtime.getRuntime().availableProcessors();
    int own = CpuTeam.threads(threads, processors, group.ranks());
    CpuTeam team = new CpuTeam(rank, own, own * group.ranks() <= processors, partNanos);
    synchronized (teams) {
      teams.add(team);
    }
    onlyRank = group.ranks() == 1 ? team : null;
    return new CpuOps(
        kernels,
        team,
        group,
        rank,
        memory(16L * group.ranks(), "rank"),
        bytes -> memory(bytes, "inputs of products"));
  }

  @Override
  public LogitScan openLogitScan() {
    CpuTeam ofRank = onlyRank;
    if (ofRank != null) {
      return new CpuLogitScan(kernels, ofRank);
    }
    int processors = Runtime.getRuntime().availableProcessors();
    int own = CpuTeam.threads(threads, processors, 1);
    CpuTeam team = new CpuTeam(SCAN_TEAM, own, own <= processors, partNanos);
    synchronized (teams) {
      teams.add(team);
    }
    return new CpuLogitScan(kernels, team);
  }

  @Override
  protected void stop() {
    synchronized (teams) {
      teams.forEach(CpuTeam::close);
    }
  }

  @Override
  protected void copyKv(
      CpuKvCache cache,
      int[] blockTable,
      SlabRegion region,
      int headFrom,
      int headTo,
      MemorySegment slab,
      boolean toSlab) {
    KvShape shape = cache.shape();
    long headBytes =
        (region.tokenTo() - region.tokenFrom())
            * SlabRegion.rowBytes(region.headDim(), region.dtype());
    long partBytes = headBytes * (region.headTo() - region.headFrom());
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment table = arena.allocateFrom(JAVA_INT, blockTable);
      MemorySegment wire = outsideHeap(slab, arena);
      for (int layer = region.layerFrom(); layer < region.layerTo(); layer++) {
        for (int values = 0; values <= 1; values++) {
          long part = 2L * (layer - region.layerFrom()) + values;
          kernels.copyKv(
              cache.layerAddress(layer),
              code(shape.dtype()),
              shape.blockTokens(),
              shape.kvHeads(),
              shape.headDim(),
              table,
              headFrom - shape.headFrom(),
              headTo - headFrom,
              region.tokenFrom(),
              region.tokenTo(),
              wire.asSlice(part * partBytes + (headFrom - region.headFrom()) * headBytes),
              code(region.dtype()),
              headBytes,
              values,
              toSlab ? 1 : 0);
        }
      }
      if (toSlab && !slab.isNative()) {
        slab.copyFrom(wire);
      }
    }
  }
}
