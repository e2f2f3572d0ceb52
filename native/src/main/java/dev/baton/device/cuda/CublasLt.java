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
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import jcuda.driver.JCudaDriver;

/**
 * NVIDIA's library of matrix products, whichever version is installed: the ceiling that products
 * are measured against, and large products where that is asked for. Its sums have no order that we
 * know of, and another one for other numbers of rows. Belongs to the GPU that was bound when it was
 * opened, and to one thread at a time.
 *
 * <p>Functions and constants are those of cublasLt.h of CUDA 12 and 13.
 */
final class CublasLt implements AutoCloseable {

  private static final int BFLOAT16 = 14;
  private static final int FLOAT32 = 0;
  private static final int COMPUTE_FLOAT32 = 68;
  private static final int DESCRIBE_TRANSPOSED_A = 3;
  private static final int TRANSPOSED = 1;
  private static final int MOST_WORKSPACE = 1;
  private static final long RESULT_BYTES = 96;

  /** What NVIDIA recommends for its newer GPUs. */
  static final long WORKSPACE_BYTES = 32L << 20;

  /** Shapes that are kept prepared; the one that was used longest ago goes first. */
  private static final int MOST_PLANS = 512;

  /** {@code out[rows][outputs] (+)= x[rows][inputs] * weight[outputs][inputs]^T}. */
  private record Shape(int outputs, int rows, long inputs, int outPitch) {}

  /** Layouts, and the algorithm that the library chose. */
  private record Plan(
      Arena arena,
      MemorySegment weight,
      MemorySegment x,
      MemorySegment out,
      MemorySegment algorithm) {}

  private final MethodHandle describe;
  private final MethodHandle setDescription;
  private final MethodHandle layout;
  private final MethodHandle preference;
  private final MethodHandle heuristic;
  private final MethodHandle multiply;
  private final MethodHandle setPreference;
  private final MethodHandle dropLayout;
  private final MethodHandle dropHandle;
  private final MemorySegment handle;
  private final Arena arena = Arena.ofShared();
  private final MemorySegment zero = arena.allocateFrom(JAVA_FLOAT, 0f);
  private final MemorySegment one = arena.allocateFrom(JAVA_FLOAT, 1f);
  private final MemorySegment product;
  private final MemorySegment preferred;
  private final SequencedMap<Shape, Plan> plans = new LinkedHashMap<>(16, 0.75f, true);

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
    setPreference =
        of(library, "cublasLtMatmulPreferenceSetAttribute", ADDRESS, JAVA_INT, ADDRESS, JAVA_LONG);
    dropLayout = of(library, "cublasLtMatrixLayoutDestroy", ADDRESS);
    dropHandle = of(library, "cublasLtDestroy", ADDRESS);
    handle = created(of(library, "cublasLtCreate", ADDRESS), "cublasLtCreate");
    product = created(describe, "cublasLtMatmulDescCreate", COMPUTE_FLOAT32, FLOAT32);
    call(
        setDescription,
        "cublasLtMatmulDescSetAttribute",
        product,
        DESCRIBE_TRANSPOSED_A,
        arena.allocateFrom(JAVA_INT, TRANSPOSED),
        (long) Integer.BYTES);
    preferred = created(preference, "cublasLtMatmulPreferenceCreate");
    call(
        setPreference,
        "cublasLtMatmulPreferenceSetAttribute",
        preferred,
        MOST_WORKSPACE,
        arena.allocateFrom(JAVA_LONG, WORKSPACE_BYTES),
        (long) Long.BYTES);
  }

  /**
   * @param cost what is not to be had without it
   * @throws CudaUnavailableException when the machine has none, or one that does not begin
   */
  static CublasLt open(boolean emulated, String cost) {
    SystemLibrary library =
        emulated
            ? SystemLibrary.open("libcuda.so", List.of(1), cost)
            : SystemLibrary.open("libcublasLt.so", List.of(13, 12, 11), cost);
    try {
      return new CublasLt(library);
    } catch (CudaException e) {
      throw new CudaUnavailableException(
          "%s: %s; without it: %s".formatted(library.name(), e.getMessage(), cost));
    }
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
    require(name, status);
  }

  private static void require(String name, int status) {
    if (status != 0) {
      throw new CudaException(
          "%s: status %d, %s (expected: 0)".formatted(name, status, meaning(status)));
    }
  }

  /** Of cublasStatus_t. */
  private static String meaning(int status) {
    return switch (status) {
      case 1 -> "not initialized: no GPU, or a driver that is older than the library";
      case 3 -> "no memory";
      case 7 -> "invalid value";
      case 8 -> "not for this GPU";
      case 13 -> "execution failed";
      case 14 -> "internal error";
      case 15 -> "not supported";
      default -> "see cublasStatus_t";
    };
  }

  /**
   * {@code out = x * weight^T}, or {@code out += x * weight^T}, of bfloat16 in float32; enqueued.
   *
   * @param weight {@code [outputs][inputs]}
   * @param x {@code [rows][inputs]}
   * @param out float32 {@code [rows][outPitch]}
   * @param workspace of {@link #WORKSPACE_BYTES}, which no other stream uses
   * @param stream where it lies
   */
  void multiply(
      long weight,
      int outputs,
      long x,
      int rows,
      long inputs,
      long out,
      int outPitch,
      boolean add,
      long workspace,
      long stream) {
    Plan plan = plan(new Shape(outputs, rows, inputs, outPitch));
    MemorySegment beta = add ? one : zero;
    int status;
    try {
      status =
          (int)
              multiply.invokeExact(
                  handle,
                  product,
                  one,
                  weight,
                  plan.weight,
                  x,
                  plan.x,
                  beta,
                  out,
                  plan.out,
                  out,
                  plan.out,
                  plan.algorithm,
                  MemorySegment.ofAddress(workspace),
                  WORKSPACE_BYTES,
                  MemorySegment.ofAddress(stream));
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
    require("cublasLtMatmul", status);
  }

  private Plan plan(Shape shape) {
    Plan known = plans.get(shape);
    if (known != null) {
      return known;
    }
    if (plans.size() >= MOST_PLANS) {
      drop(plans.pollFirstEntry().getValue());
    }
    Arena own = Arena.ofShared();
    MemorySegment result = own.allocate(RESULT_BYTES, Long.BYTES);
    // Column-major, as the library has it: each matrix is the transpose of ours.
    Plan plan =
        new Plan(
            own,
            matrix(BFLOAT16, shape.inputs, shape.outputs, shape.inputs),
            matrix(BFLOAT16, shape.inputs, shape.rows, shape.inputs),
            matrix(FLOAT32, shape.outputs, shape.rows, shape.outPitch),
            result);
    MemorySegment count = own.allocate(JAVA_INT);
    call(
        heuristic,
        "cublasLtMatmulAlgoGetHeuristic",
        handle,
        product,
        plan.weight,
        plan.x,
        plan.out,
        plan.out,
        preferred,
        1,
        result,
        count);
    if (count.get(JAVA_INT, 0) == 0) {
      drop(plan);
      throw new CudaException(
          "cublasLtMatmulAlgoGetHeuristic: no algorithm for %s (expected: one)".formatted(shape));
    }
    plans.put(shape, plan);
    return plan;
  }

  private void drop(Plan plan) {
    for (MemorySegment each : List.of(plan.weight, plan.x, plan.out)) {
      call(dropLayout, "cublasLtMatrixLayoutDestroy", each);
    }
    plan.arena.close();
  }

  private MemorySegment matrix(int type, long rows, long columns, long pitch) {
    return created(layout, "cublasLtMatrixLayoutCreate", type, rows, columns, pitch);
  }

  /**
   * Rate of a square product, the best of some rounds. On the context's default stream; waits for
   * it.
   *
   * @param out float32 {@code [size][size]}
   * @param workspace of {@link #WORKSPACE_BYTES}
   */
  double operationsPerSecond(long out, long x, long weight, long workspace, int size, int rounds) {
    double best = 0;
    for (int round = 0; round <= rounds; round++) {
      long begun = System.nanoTime();
      for (int i = 0; i < rounds; i++) {
        multiply(weight, size, x, size, size, out, size, false, workspace, 0);
      }
      CudaDriver.check("cuCtxSynchronize", JCudaDriver.cuCtxSynchronize());
      double seconds = (System.nanoTime() - begun) / 1e9 / rounds;
      if (round > 0) {
        best = Math.max(best, 2.0 * size * size * size / seconds);
      }
    }
    return best;
  }

  @Override
  public void close() {
    plans.values().forEach(this::drop);
    plans.clear();
    call(dropHandle, "cublasLtDestroy", handle);
    arena.close();
  }
}
