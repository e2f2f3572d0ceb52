package dev.baton.device.cuda;

import java.lang.foreign.MemorySegment;

/**
 * Memory of one rank for what lives no longer than an operation or two. Grows to the largest that
 * was asked for; what it had before stays with the GPU, because recorded steps may still use it.
 */
final class Scratch {

  private final CudaGpu gpu;
  private final String what;
  private MemorySegment memory = MemorySegment.NULL;

  Scratch(CudaGpu gpu, String what) {
    this.gpu = gpu;
    this.what = what;
  }

  /** Where at least so many bytes are. */
  long address(long bytes) {
    if (memory.byteSize() < bytes) {
      memory = gpu.allocate(Math.max(bytes, 2 * memory.byteSize()), what, false);
    }
    return memory.address();
  }
}
