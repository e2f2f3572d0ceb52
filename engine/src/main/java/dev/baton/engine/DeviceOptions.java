package dev.baton.engine;

import java.util.List;

/**
 * On what a replica runs.
 *
 * @param kind of device
 * @param gpus of the ranks, as the driver numbers them; empty = rank r on GPU r, a single one = all
 *     ranks on it
 * @param gpuMemoryUtilization share of each GPU's free memory to take, above 0 and at most 1
 * @param numerics with whom KV is exchanged
 * @param products by what large products are computed on GPUs
 * @param slabs where slabs of hand-offs lie, when the device is GPUs
 * @param slabBytes that are taken of the first GPU for them; 0 = none
 */
public record DeviceOptions(
    Kind kind,
    List<Integer> gpus,
    double gpuMemoryUtilization,
    Numerics numerics,
    Products products,
    Slabs slabs,
    long slabBytes) {

  /** Where kernels run. */
  public enum Kind {
    CPU,
    /** NVIDIA GPUs. */
    CUDA,
    /** The kernels of GPUs on the CPU, for tests: slow, and right. */
    EMULATED_CUDA
  }

  /** Whose arithmetic must be the same for KV to be exchanged. */
  public enum Numerics {
    /** That of the device: equal requests give equal bits wherever they run. */
    EXACT,
    /**
     * Any device's: KV goes between CPUs and GPUs, and between workers that hold it in different
     * dtypes. Tokens then depend on which worker did what, as far as the coarser one rounds; a
     * request that moves goes on well, but not with the very same bits.
     */
    MIXED
  }

  /** By what products of many rows are computed on GPUs. */
  public enum Products {
    /** Kernels with fixed orders of sums: the same bits in every batch. */
    OWN,
    /** NVIDIA's cuBLASLt, whose order of sums depends on how many rows there are. */
    CUBLASLT
  }

  /** Where slabs of hand-offs lie. */
  public enum Slabs {
    /** On the GPU where UCX can send from there, else on the host. */
    AUTO,
    /** In host memory; GPUs copy to and from there. */
    HOST,
    /** In the first GPU's memory, or not at all. */
    DEVICE
  }

  public static final DeviceOptions CPU = of(Kind.CPU);

  public DeviceOptions {
    gpus = List.copyOf(gpus);
    if (!(gpuMemoryUtilization > 0 && gpuMemoryUtilization <= 1)) {
      throw new IllegalArgumentException(
          "gpuMemoryUtilization: %s (expected: above 0, at most 1)"
              .formatted(gpuMemoryUtilization));
    }
  }

  /** Of a kind, else the defaults. */
  public static DeviceOptions of(Kind kind) {
    return new DeviceOptions(kind, List.of(), 0.9, Numerics.EXACT, Products.OWN, Slabs.AUTO, 0);
  }

  public DeviceOptions withGpus(List<Integer> numbers) {
    return new DeviceOptions(
        kind, numbers, gpuMemoryUtilization, numerics, products, slabs, slabBytes);
  }

  public DeviceOptions withGpuMemoryUtilization(double share) {
    return new DeviceOptions(kind, gpus, share, numerics, products, slabs, slabBytes);
  }

  public DeviceOptions withNumerics(Numerics value) {
    return new DeviceOptions(kind, gpus, gpuMemoryUtilization, value, products, slabs, slabBytes);
  }

  public DeviceOptions withProducts(Products value) {
    return new DeviceOptions(kind, gpus, gpuMemoryUtilization, numerics, value, slabs, slabBytes);
  }

  public DeviceOptions withSlabs(Slabs value) {
    return new DeviceOptions(
        kind, gpus, gpuMemoryUtilization, numerics, products, value, slabBytes);
  }

  public DeviceOptions withSlabBytes(long bytes) {
    return new DeviceOptions(kind, gpus, gpuMemoryUtilization, numerics, products, slabs, bytes);
  }
}
