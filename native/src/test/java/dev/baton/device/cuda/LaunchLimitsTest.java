package dev.baton.device.cuda;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

/** Launches that GPUs refuse are refused by the emulated driver too. */
final class LaunchLimitsTest {

  private static void launch(CudaGpu gpu, MemorySegment memory, int gridY, int block, int shared) {
    // Of no rows: nothing is touched.
    new Launch(gpu, gpu.setup())
        .of("add")
        .address(memory.address())
        .number(1)
        .address(memory.address())
        .number(1)
        .address(memory.address())
        .number(1)
        .run(1, gridY, 1, block, shared);
  }

  @Test
  void gridsBlocksAndSharedMemoryHaveTheLimitsOfGpus() {
    try (CudaGpu gpu = new CudaGpu(CudaDriver.open(true), 0, 0.01)) {
      MemorySegment memory = gpu.allocate(64, "test");
      assertDoesNotThrow(() -> launch(gpu, memory, 3, 32, 100_000));
      assertThrows(CudaException.class, () -> launch(gpu, memory, 65_536, 32, 0));
      assertThrows(CudaException.class, () -> launch(gpu, memory, 1, 1056, 0));
      assertThrows(CudaException.class, () -> launch(gpu, memory, 1, 32, 300_000));
    }
  }
}
