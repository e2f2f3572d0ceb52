package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.RankAbortedException;
import dev.baton.device.Tensor;
import dev.baton.device.host.RankGroup;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Sums over the ranks of a worker, in the canonical tree, by a kernel over each other's memory (see
 * {@code collectives.cu}). Ranks launch alike, each on its own stream; kernels wait for one another
 * on the GPUs, until one rank says that it has failed.
 */
final class CudaReduction {

  private static final int PEERS_BYTES = 160;
  private static final int MOST_RANKS = 8;

  /** Blocks of every launch: enough to fill links, few enough that all ranks' fit one GPU. */
  private static final int GRID = 16;

  private static final int BLOCK = 512;
  private static final int SHARED = 16;

  private static final VarHandle WORD = JAVA_INT.varHandle();

  private final List<MemorySegment> staging = new ArrayList<>();
  private final List<MemorySegment> arrivals = new ArrayList<>();
  private final List<MemorySegment> epochs = new ArrayList<>();
  private final MemorySegment abort;
  private final RankGroup group;
  private final long half;
  private volatile @Nullable Throwable cause;

  /**
   * @param gpus of the ranks
   * @param half most elements of a sum
   */
  CudaReduction(List<CudaGpu> gpus, long half) {
    this.half = half;
    group = new RankGroup(gpus.size());
    requireRoom(gpus);
    abort = gpus.getFirst().pinned(Integer.BYTES);
    abort.set(JAVA_INT, 0, 0);
    if (gpus.size() > 1) {
      for (CudaGpu gpu : gpus) {
        staging.add(gpu.allocate(bytes(half), "sums of ranks"));
        arrivals.add(gpu.allocate((long) GRID * Integer.BYTES, "sums of ranks"));
        epochs.add(gpu.allocate((long) GRID * Integer.BYTES, "sums of ranks"));
      }
    }
  }

  /** Kernels that wait for one another must all be on their GPU at once. */
  private static void requireRoom(List<CudaGpu> gpus) {
    for (CudaGpu gpu : gpus) {
      long ranks = gpus.stream().filter(other -> other == gpu).count();
      long most = (long) gpu.multiprocessors() * (gpu.threadsEach() / BLOCK) / GRID;
      if (ranks > 1 && ranks > most && !gpu.driver().emulated()) {
        throw new CudaUnavailableException(
            "gpus: %d ranks on GPU %d (expected: at most %d, whose sums run there at once)"
                .formatted(ranks, gpu.ordinal(), most));
      }
    }
  }

  /** Waits, on the host, until all ranks have come here. */
  void meetOnHost(int rank) {
    if (group.ranks() > 1) {
      group.meet(rank);
    }
  }

  /** Bytes that each rank's GPU gives. */
  static long bytes(long half) {
    return 2 * half * Float.BYTES;
  }

  /**
   * {@code to (+)= sum of from over all ranks (+ bias)}.
   *
   * @param add whether the sum is added to what is there
   */
  void launch(
      Launch launch,
      int rank,
      Tensor to,
      Tensor from,
      @Nullable Tensor bias,
      boolean add,
      Rows rows,
      int width) {
    if ((long) rows.grid() * width > half) {
      throw new IllegalArgumentException(
          "sum over ranks: %d * %d elements (expected: at most %d, what was planned)"
              .formatted(rows.grid(), width, half));
    }
    launch
        .of("all_reduce")
        .address(to.address())
        .number(Math.toIntExact(to.columns()))
        .address(from.address())
        .number(Math.toIntExact(from.columns()))
        .address(bias == null ? 0 : bias.address())
        .number(add ? 1 : 0);
    write(launch.struct(PEERS_BYTES), rank);
    launch.address(rows.address()).number(width).run(GRID, BLOCK, SHARED);
  }

  private void write(MemorySegment peers, int rank) {
    peers.fill((byte) 0);
    for (int i = 0; i < staging.size(); i++) {
      peers.setAtIndex(JAVA_LONG, i, staging.get(i).address());
      peers.setAtIndex(JAVA_LONG, MOST_RANKS + i, arrivals.get(i).address());
    }
    peers.setAtIndex(JAVA_LONG, 2 * MOST_RANKS, epochs.get(rank).address());
    peers.setAtIndex(JAVA_LONG, 2 * MOST_RANKS + 1, abort.address());
    peers.setAtIndex(JAVA_LONG, 2 * MOST_RANKS + 2, half);
    peers.set(JAVA_INT, 152, rank);
    peers.set(JAVA_INT, 156, staging.size());
  }

  /** Ends all waiting, for good. The first cause counts. */
  synchronized void abort(Throwable why) {
    if (cause == null) {
      cause = why;
      group.abort(why);
      WORD.setVolatile(abort, 0L, 1);
    }
  }

  void throwIfAborted() {
    Throwable why = cause;
    if (why != null) {
      throw new RankAbortedException(why);
    }
  }
}
