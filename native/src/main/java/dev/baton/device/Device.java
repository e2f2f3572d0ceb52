package dev.baton.device;

import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Where tensors live and kernels run: one CPU, or the GPUs of one worker. Owns all memory it hands
 * out; closing it frees everything and must come after the last rank has stopped.
 *
 * <p>Allocation, packing of weights and {@link #openRanks} happen at load and may be called from
 * several threads; {@link #packKv} and {@link #unpackKv} may be called from any thread at any time,
 * also during a step, for blocks that the caller holds. A request that does not fit memory throws
 * {@link OutOfDeviceMemoryException} with the sums.
 */
public interface Device extends AutoCloseable {

  /** One line for the log: device, chosen instruction set and why. */
  String description();

  /**
   * Names the arithmetic of products with weights of this format, in a word: devices that say the
   * same give the same bits; those that do not must not share a request, its KV or a prefix cache.
   */
  default String numerics(WeightFormat weights) {
    return "baton-1";
  }

  /** Whether weights can be packed in this format. */
  default boolean supports(WeightFormat format) {
    return true;
  }

  /** Whether KV can be kept in this dtype, which is FLOAT32, BFLOAT16 or INT8. */
  default boolean supportsKv(DType dtype) {
    return true;
  }

  /** The most dims of a head that its attention takes. */
  int maxHeadDim();

  /** Whether slices may say how their random elements are made, instead of bringing them. */
  default boolean makesRandom() {
    return false;
  }

  /**
   * The device as a rank sees it: what is allocated and packed there lies near that rank, and is
   * for its ops. This very device where all ranks share memory.
   */
  default Device onRank(int rank) {
    return this;
  }

  /** What there is for a model, before anything is allocated. */
  DeviceMemory memory();

  /** Bytes that one rank's ops take beside the tensors that they are given. */
  default long workspaceBytes(StepShape shape) {
    return 0;
  }

  /** Tells how large steps become; before batches are allocated, on each rank's device. */
  default void reserve(StepShape shape) {}

  /**
   * Memory in which Java reads what {@link #refresh} has brought there; the tensor's own on a
   * device whose memory Java reads. Lives as long as the device.
   */
  default MemorySegment mirror(Tensor tensor) {
    return tensor.segment();
  }

  /** Brings the first bytes of the tensor to its mirror, after the ranks have ended their pass. */
  default void refresh(MemorySegment mirror, Tensor tensor, long bytes) {}

  /** How its chips are, now; any thread, some milliseconds. */
  default DeviceHealth health() {
    return DeviceHealth.UNKNOWN;
  }

  /**
   * Drawn by its chips since some moment, in joules; negative = not known. Any thread, often: some
   * times a second.
   */
  default double joules() {
    return -1;
  }

  /**
   * The piece of its memory for slabs that it was opened with; null = there is none, and slabs lie
   * in host memory.
   */
  default @Nullable DeviceSlabs slabs() {
    return null;
  }

  /** Zeroed memory. */
  Tensor allocate(DType dtype, long rows, long columns);

  /** Copies host bytes in; {@code from.byteSize()} bytes to byte {@code offset} of {@code to}. */
  void upload(Tensor to, long offset, MemorySegment from);

  /** Copies {@code to.byteSize()} bytes out, from byte {@code offset} of {@code from}. */
  void download(MemorySegment to, Tensor from, long offset);

  /**
   * The place in the slice, {@code row * columns + column} of its own, of the first element that is
   * 2^127 or more in magnitude, or no number; -1 = there is none. To be asked before a slice is
   * converted or packed. A device that can tell only while it does so answers -1 and throws {@link
   * UnusableElementException} then.
   */
  long findUnusable(WeightSlice slice);

  /**
   * Converts a checkpoint slice to a row-major tensor {@code [rows, columns]} of {@code dtype}
   * (norms, embeddings, biases).
   */
  Tensor convert(WeightSlice slice, DType dtype);

  /**
   * Packs a shard of a linear weight {@code [out, in]} for {@link Ops#linear}. For {@link
   * Parallelism#COLUMN} the slice holds all columns, for {@link Parallelism#ROW} its columns begin
   * and end on borders of the canonical ranges of the whole width.
   */
  LinearWeight packLinear(WeightSlice slice, WeightFormat format, Parallelism parallelism);

  /**
   * Packs the same rows of a gate and of what it lets through, all columns of each, for {@link
   * Ops#gated}.
   */
  GatedWeight packGated(WeightSlice gate, WeightSlice up, WeightFormat format);

  KvCache allocateKvCache(KvShape shape);

  StepBatch allocateStepBatch(int maxTokens, int maxSequences, int maxBlocks);

  /** One rank's routing of up to {@code maxRows} rows to {@code chosen} of {@code experts}. */
  Routing allocateRouting(int maxRows, int experts, int chosen);

  /**
   * The ops of {@code ranks} (1, 2, 4 or 8) ranks that meet in collectives. Each is then used by
   * one thread of its own.
   */
  List<Ops> openRanks(int ranks);

  /**
   * Chooses tokens from logits of this device within its passes ({@link Ops#choose}); null = it
   * does not, and logits are for {@link #openLogitScan}.
   *
   * @param maxRows most rows of a step
   */
  default @Nullable TokenChoice openTokenChoice(int vocabulary, int maxRows) {
    return null;
  }

  /**
   * Passes over logits that lie in this device's memory, with the threads of the ranks or with
   * others that rest between them; lives until the device is closed.
   */
  LogitScan openLogitScan();

  /**
   * Copies the part of a region that this cache holds (its heads) from blocks to a slab. The slab's
   * other heads stay as they are. It lies in host memory or in the device's {@link #slabs}.
   *
   * @param blockTable block numbers in order of position; covers {@code region.tokenTo()}
   */
  void packKv(KvCache cache, int[] blockTable, SlabRegion region, MemorySegment slab);

  /** The reverse of {@link #packKv}. */
  void unpackKv(KvCache cache, int[] blockTable, SlabRegion region, MemorySegment slab);

  @Override
  void close();
}
