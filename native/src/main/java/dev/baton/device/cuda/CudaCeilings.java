package dev.baton.device.cuda;

import dev.baton.device.DType;
import dev.baton.device.RandomElements;
import java.lang.foreign.MemorySegment;
import jcuda.driver.CUevent;
import jcuda.driver.CUstream;
import org.jspecify.annotations.Nullable;

/**
 * What one GPU does at best, for benches: memory copied and read by kernels of ours, bfloat16
 * products by NVIDIA's cuBLASLt. One thread.
 */
public final class CudaCeilings implements AutoCloseable {

  /** Bytes of a buffer: many times the caches of any GPU. */
  private static final long BYTES = 2L << 30;

  private static final long EMULATED_BYTES = 1L << 20;
  private static final int ROUNDS = 5;
  private static final int BLOCKS_A_MULTIPROCESSOR = 8;
  private static final int BLOCK = 512;
  private static final int SHARED = 512;
  private static final int WORD = 16;

  /** Rows, outputs and inputs of the product. */
  private static final int SIZE = 8192;

  private final CudaGpu gpu;
  private final CudaDriver driver;
  private final CUstream stream;
  private final Launch launch;
  private final CUevent begun;
  private final CUevent ended;
  private final MemorySegment from;
  private final MemorySegment to;
  private final @Nullable CublasLt cublas;
  private final String missing;

  private CudaCeilings(CudaGpu gpu) {
    this.gpu = gpu;
    driver = gpu.driver();
    stream = gpu.stream();
    launch = new Launch(gpu, stream);
    begun = driver.createEvent(true);
    ended = driver.createEvent(true);
    long bytes = driver.emulated() ? EMULATED_BYTES : Math.min(BYTES, gpu.budget() / 3);
    int rows = (int) (bytes / Short.BYTES / SIZE);
    bytes = (long) rows * SIZE * Short.BYTES;
    from = gpu.allocate(bytes, "ceilings");
    to = gpu.allocate(bytes, "ceilings");
    RandomElements random = new RandomElements(DType.BFLOAT16, SIZE, 1);
    WeightStaging.make(random, launch, from.address(), 0, SIZE, rows, SIZE);
    driver.synchronize(stream);
    CublasLt found = null;
    String why = "";
    if (driver.emulated()) {
      why = "cuBLASLt: not on an emulated GPU";
    } else {
      try {
        found =
            CublasLt.open(false, "the ceiling of matrix products, which benches measure against");
      } catch (CudaUnavailableException e) {
        why = String.valueOf(e.getMessage());
      }
    }
    cublas = found;
    missing = why;
  }

  /**
   * Takes memory on the first GPU of the options, beside whatever else is there.
   *
   * @throws CudaUnavailableException as {@link CudaDevice#open} does
   */
  public static CudaCeilings open(CudaOptions options) {
    CudaDriver driver = CudaDriver.open(options.emulated());
    int ordinal = options.gpus().isEmpty() ? 0 : options.gpus().getFirst();
    return new CudaCeilings(new CudaGpu(driver, ordinal, options.memoryUtilization()));
  }

  public String description() {
    return (driver.emulated() ? "emulated-cuda " : "cuda ")
        + gpu.description()
        + (missing.isEmpty() ? "" : "; " + missing);
  }

  /** Bytes a second, read and written both counted. */
  public double copyBytesPerSecond() {
    return 2 * from.byteSize() / seconds("copy_bytes");
  }

  /** Bytes a second that are only read. */
  public double readBytesPerSecond() {
    return from.byteSize() / seconds("read_bytes");
  }

  private double seconds(String kernel) {
    gpu.bind();
    double least = Double.MAX_VALUE;
    for (int round = 0; round <= ROUNDS; round++) {
      driver.record(begun, stream);
      launch
          .of(kernel)
          .address(to.address())
          .address(from.address())
          .number(from.byteSize() / WORD)
          .run(BLOCKS_A_MULTIPROCESSOR * gpu.multiprocessors(), BLOCK, SHARED);
      driver.record(ended, stream);
      driver.synchronize(ended);
      if (round > 0) {
        least = Math.min(least, driver.millis(begun, ended) / 1e3);
      }
    }
    return Math.max(least, 1e-9);
  }

  /** Operations a second of a large product of random bfloat16 numbers; 0 = without cuBLASLt. */
  public double operationsPerSecond() {
    CublasLt library = cublas;
    if (library == null) {
      return 0;
    }
    gpu.bind();
    long needed = 2L * SIZE * SIZE * Short.BYTES + CublasLt.WORKSPACE_BYTES;
    if (from.byteSize() < needed || to.byteSize() < (long) SIZE * SIZE * Float.BYTES) {
      return 0;
    }
    long second = from.address() + 2L * SIZE * SIZE;
    return library.operationsPerSecond(
        to.address(), from.address(), second, second + 2L * SIZE * SIZE, SIZE, ROUNDS);
  }

  @Override
  public void close() {
    gpu.close();
  }
}
