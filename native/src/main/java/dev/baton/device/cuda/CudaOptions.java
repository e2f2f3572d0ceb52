package dev.baton.device.cuda;

import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Which GPUs a worker takes, and how.
 *
 * @param emulated kernels run on the processor, for tests; bits are those of other emulated ranks
 * @param gpus by rank, as the driver numbers them, each at most as often as ranks are to share it;
 *     empty = rank r on GPU r, a single one = all ranks on it
 * @param memoryUtilization share of a GPU's free memory to take, above 0 and at most 1
 * @param graphs whether steps that only decode are recorded and replayed
 * @param library whether products of many rows are cuBLASLt's: faster where it is, and not the same
 *     bits in every batch
 * @param slabBytes of the first GPU's memory for slabs of hand-offs; 0 = they lie in host memory
 */
public record CudaOptions(
    boolean emulated,
    List<Integer> gpus,
    double memoryUtilization,
    boolean graphs,
    boolean library,
    long slabBytes) {

  public static final double DEFAULT_MEMORY_UTILIZATION = 0.9;

  public CudaOptions {
    gpus = List.copyOf(gpus);
    if (!(memoryUtilization > 0 && memoryUtilization <= 1)) {
      throw new IllegalArgumentException(
          "gpu-memory-utilization: %s (expected: above 0, at most 1)".formatted(memoryUtilization));
    }
  }

  /** With all products by kernels of our own. */
  public CudaOptions(
      boolean emulated, List<Integer> gpus, double memoryUtilization, boolean graphs) {
    this(emulated, gpus, memoryUtilization, graphs, false);
  }

  /** With slabs in host memory. */
  public CudaOptions(
      boolean emulated,
      List<Integer> gpus,
      double memoryUtilization,
      boolean graphs,
      boolean library) {
    this(emulated, gpus, memoryUtilization, graphs, library, 0);
  }

  public CudaOptions withSlabBytes(long bytes) {
    return new CudaOptions(emulated, gpus, memoryUtilization, graphs, library, bytes);
  }

  public static CudaOptions of(boolean emulated) {
    return new CudaOptions(emulated, List.of(), DEFAULT_MEMORY_UTILIZATION, true);
  }

  /**
   * The GPU of each rank.
   *
   * @param present GPUs that the driver shows
   */
  List<Integer> gpusOf(int ranks, int present) {
    List<Integer> chosen =
        switch (gpus.size()) {
          case 0 -> IntStream.range(0, ranks).boxed().toList();
          case 1 -> Collections.nCopies(ranks, gpus.getFirst());
          default -> gpus;
        };
    if (chosen.size() != ranks) {
      throw new IllegalArgumentException(
          "gpus: %s (expected: %d numbers, one for each rank)".formatted(chosen, ranks));
    }
    for (int gpu : chosen) {
      if (gpu < 0 || gpu >= present) {
        throw new IllegalArgumentException(
            "gpus: %s for %d ranks (expected: from 0 to %d, the GPUs that the driver shows; --gpus 0 puts all ranks on one)"
                .formatted(chosen, ranks, present - 1));
      }
    }
    return chosen;
  }
}
