package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;
import jcuda.driver.JCudaDriver;

/**
 * NVIDIA's library of matrix products, whichever version is installed: the ceiling that products
 * are measured against. Its sums have no order that we know of, so no model is computed with it.
 *
 * <p>Functions and constants are those of cublasLt.h of CUDA 12 and 13.
 */
final class CublasLt {

  private static final int BFLOAT16 = 14;
  private static final int FLOAT32 = 0;
  private static final int COMPUTE_FLOAT32 = 68;
  private static final int DESCRIBE_TRANSPOSED_A = 3;
  private static final int TRANSPOSED = 1;
  private static final long RESULT_BYTES = 96;

  private final MethodHandle describe;
  private final MethodHandle setDescription;
  private final MethodHandle layout;
  private final MethodHandle preference;
  private final MethodHandle heuristic;
  private final MethodHandle multiply;
  private final MemorySegment handle;

  private CublasLt(SystemLibrary library) {
    describe = of(library, "cublasLtMatmulDescCreate", ADDRESS, JAVA_INT, JAVA_INT);
    setDescription =
        of(library, "cublasLtMatmulDescSetAttribute", ADDRESS, JAVA_INT, ADDRESS, JAVA_LONG);
    layout =
        of(
            library,
            "cublasLtMatrixLayoutCreate",
            ADDRESS,
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG);
    preference = of(library, "cublasLtMatmulPreferenceCreate", ADDRESS);
    heuristic =
        of(
            library,
            "cublasLtMatmulAlgoGetHeuristic",
            ADDRESS,
            ADDRESS,
            ADDRESS,
            ADDRESS,
            ADDRESS,
            ADDRESS,
            ADDRESS,
            JAVA_INT,
            ADDRESS,
            ADDRESS);
    multiply =
        of(
            library,
            "cublasLtMatmul",
            ADDRESS,
            ADDRESS,
            ADDRESS,
            JAVA_LONG,
            ADDRESS,
            JAVA_LONG,
            ADDRESS,
            ADDRESS,
            JAVA_LONG,
            ADDRESS,
            JAVA_LONG,
            ADDRESS,
            ADDRESS,
            ADDRESS,
            JAVA_LONG,
            ADDRESS);
    handle = created(of(library, "cublasLtCreate", ADDRESS), "cublasLtCreate");
  }

  /**
   * @throws CudaUnavailableException when the machine has none
   */
  static CublasLt open() {
    return new CublasLt(
        SystemLibrary.open(
            "libcublasLt.so",
            List.of(13, 12, 11),
            "the ceiling of matrix products, which benches measure against"));
  }

  private static MethodHandle of(SystemLibrary library, String name, MemoryLayout... parameters) {
    return library.function(name, FunctionDescriptor.of(JAVA_INT, parameters));
  }

  /** Calls a function that leaves a new object at its first parameter. */
  private static MemorySegment created(MethodHandle maker, String name, Object... more) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment place = arena.allocate(ADDRESS);
      Object[] arguments = new Object[more.length + 1];
      arguments[0] = place;
      System.arraycopy(more, 0, arguments, 1, more.length);
      call(maker, name, arguments);
      return place.get(ADDRESS, 0);
    }
  }

  private static void call(MethodHandle function, String name, Object... arguments) {
    int status;
    try {
      status = (int) function.invokeWithArguments(arguments);
    } catch (Throwable e) {
      throw new CudaException("%s: %s".formatted(name, e));
    }
    if (status != 0) {
      throw new CudaException("%s: status %d (expected: 0)".formatted(name, status));
    }
  }

  /**
   * Rate of a square product {@code out = x * weight^T} of bfloat16 in float32, the best of some
   * rounds. On the context's default stream; waits for it.
   *
   * @param out float32 {@code [size][size]}
   */
  double operationsPerSecond(long out, long x, long weight, int size, int rounds) {
    MemorySegment product = created(describe, "cublasLtMatmulDescCreate", COMPUTE_FLOAT32, FLOAT32);
    MemorySegment inputs = matrix(BFLOAT16, size);
    MemorySegment sums = matrix(FLOAT32, size);
    MemorySegment preferred = created(preference, "cublasLtMatmulPreferenceCreate");
    try (Arena arena = Arena.ofConfined()) {
      call(
          setDescription,
          "cublasLtMatmulDescSetAttribute",
          product,
          DESCRIBE_TRANSPOSED_A,
          arena.allocateFrom(JAVA_INT, TRANSPOSED),
          (long) Integer.BYTES);
      MemorySegment result = arena.allocate(RESULT_BYTES, Long.BYTES);
      MemorySegment count = arena.allocate(JAVA_INT);
      call(
          heuristic,
          "cublasLtMatmulAlgoGetHeuristic",
          handle,
          product,
          inputs,
          inputs,
          sums,
          sums,
          preferred,
          1,
          result,
          count);
      if (count.get(JAVA_INT, 0) == 0) {
        throw new CudaException("cublasLtMatmulAlgoGetHeuristic: no algorithm (expected: one)");
      }
      MemorySegment one = arena.allocateFrom(JAVA_FLOAT, 1f);
      MemorySegment zero = arena.allocateFrom(JAVA_FLOAT, 0f);
      double best = 0;
      for (int round = 0; round <= rounds; round++) {
        long begun = System.nanoTime();
        for (int i = 0; i < rounds; i++) {
          call(
              multiply,
              "cublasLtMatmul",
              handle,
              product,
              one,
              weight,
              inputs,
              x,
              inputs,
              zero,
              out,
              sums,
              out,
              sums,
              result,
              MemorySegment.NULL,
              0L,
              MemorySegment.NULL);
        }
        CudaDriver.check("cuCtxSynchronize", JCudaDriver.cuCtxSynchronize());
        double seconds = (System.nanoTime() - begun) / 1e9 / rounds;
        if (round > 0) {
          best = Math.max(best, 2.0 * size * size * size / seconds);
        }
      }
      return best;
    }
  }

  private MemorySegment matrix(int type, int size) {
    return created(
        layout, "cublasLtMatrixLayoutCreate", type, (long) size, (long) size, (long) size);
  }
}
