package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.baton.device.DeviceSlabs;
import dev.baton.device.OutOfDeviceMemoryException;
import java.lang.foreign.MemorySegment;
import jcuda.driver.CUstream;

/** Slabs in the memory of a worker's first GPU, which its other GPUs see. Any thread. */
final class CudaSlabs implements DeviceSlabs {

  private static final long ALIGNMENT = 256;
  private static final int BLOCK = 256;
  private static final int WORD = 16;

  /** Enough to hide that a thread has many dependent operations for each word. */
  private static final int MOST_BLOCKS = 256;

  private final CudaGpu gpu;
  private final MemorySegment all;
  private final Stagings<Sum> sums;
  private long taken;

  /** What one thread needs to have a checksum computed. */
  private static final class Sum {
    private final CudaGpu gpu;
    private final CUstream stream;
    private final Launch launch;
    private final MemorySegment host;
    private final MemorySegment onGpu;

    Sum(CudaGpu gpu) {
      this.gpu = gpu;
      stream = gpu.stream();
      launch = new Launch(gpu, stream);
      host = gpu.pinned(Integer.BYTES);
      onGpu = gpu.allocate(Integer.BYTES, "checksum");
    }

    int of(MemorySegment slab) {
      CudaDriver driver = gpu.driver();
      gpu.bind();
      driver.fill(onGpu.address(), 0, 1, stream);
      long blocks = Math.ceilDiv(Math.max(1, slab.byteSize() / WORD), BLOCK);
      launch
          .of("crc32c")
          .address(onGpu.address())
          .address(slab.address())
          .number(slab.byteSize())
          .run((int) Math.min(blocks, MOST_BLOCKS), BLOCK, 0);
      driver.download(host, onGpu.address(), stream);
      driver.synchronize(stream);
      return ~host.get(JAVA_INT, 0);
    }
  }

  /**
   * @param threads that ask for checksums at a time
   */
  CudaSlabs(CudaGpu gpu, long bytes, int threads) {
    this.gpu = gpu;
    all = gpu.allocate(bytes, "slabs of hand-offs", false);
    sums = new Stagings<>(threads, () -> new Sum(gpu));
  }

  /** Makes all that checksums need, so that none is made while steps run. */
  void makeAll() {
    sums.makeAll();
  }

  /** Whether a slab lies here. */
  boolean holds(MemorySegment slab) {
    long at = slab.address() - all.address();
    return slab.isNative() && at >= 0 && at < all.byteSize();
  }

  @Override
  public boolean onHost() {
    return gpu.driver().emulated();
  }

  @Override
  public synchronized MemorySegment take(long bytes) {
    if (bytes > all.byteSize() - taken) {
      throw new OutOfDeviceMemoryException(
          "slab: %d bytes (expected: at most %d, what is left of %d)"
              .formatted(bytes, all.byteSize() - taken, all.byteSize()));
    }
    MemorySegment slab = all.asSlice(taken, bytes);
    taken = Math.min(all.byteSize(), Math.ceilDiv(taken + bytes, ALIGNMENT) * ALIGNMENT);
    return slab;
  }

  @Override
  public int crc32c(MemorySegment slab) {
    int[] result = new int[1];
    sums.use(sum -> result[0] = sum.of(slab));
    return result[0];
  }

  @Override
  public void bindThread() {
    gpu.bind();
  }
}
