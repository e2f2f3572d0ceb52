package dev.baton.device.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.baton.device.cuda.EmulatedGpu.Grid;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

/** The emulation reports kernels that would fail, hang or read garbage on a GPU. */
final class EmulationTest {

  private static final Grid ONE = new Grid(1, 1, 1);

  private static void assertReported(String error, String... parts) {
    for (String part : parts) {
      assertTrue(error.contains(part), "\"" + error + "\" (expected: with \"" + part + "\")");
    }
  }

  @Test
  void anAccessOutsideOfDeviceMemoryNamesKernelAndThread() {
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      MemorySegment from = gpu.bytes(4 * 40);
      MemorySegment to = gpu.bytes(4 * 64);
      String error = gpu.attempt("fault_outside", ONE, 64, 0, from, to);
      assertReported(
          error,
          "fault_outside",
          "thread 40",
          "outside",
          Long.toHexString(from.address() + from.byteSize()));
      gpu.launch("fault_outside", ONE, 32, 0, from, to);
    }
  }

  @Test
  void memoryThatWasTakenBackIsOutside() {
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      // Before the other is closed, so that it does not get its place.
      MemorySegment to = gpu.bytes(256);
      long from;
      try (EmulatedGpu closed = new EmulatedGpu()) {
        from = closed.bytes(256).address();
      }
      assertReported(gpu.attempt("fault_outside", ONE, 32, 0, from, to), "outside");
    }
  }

  @Test
  void misalignedAndSharedAccessesAreReported() {
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      MemorySegment to = gpu.bytes(256);
      assertReported(
          gpu.attempt("fault_misaligned", ONE, 64, 0, gpu.bytes(64), to), "misaligned", "thread 0");
      assertReported(
          gpu.attempt("fault_shared", ONE, 64, 128, to), "shared memory: outside", "thread ");
      gpu.launch("fault_shared", ONE, 64, 256, to);
    }
  }

  @Test
  void aBarrierThatAThreadMissesIsAnErrorAndNoHang() {
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      MemorySegment to = gpu.bytes(256);
      assertReported(gpu.attempt("fault_missed_barrier", ONE, 64, 0, to), "barrier", "all threads");
      assertReported(gpu.attempt("fault_two_barriers", ONE, 64, 0, to), "barrier", "different");
      assertReported(
          gpu.attempt("fault_missing_lane", ONE, 64, 0, to), "warp operation", "all threads");
    }
  }

  @Test
  void accessesThatNoBarrierOrdersAreRaces() {
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      MemorySegment from = gpu.bf16s(1, 2, 3, 4, 5, 6, 7, 8);
      MemorySegment to = gpu.bytes(256);
      assertReported(gpu.attempt("fault_race", ONE, 64, 128, to, 0), "race", "byte ");
      assertReported(gpu.attempt("fault_early_copy", ONE, 64, 128, from, to, 0), "race");
      gpu.launch("fault_race", ONE, 64, 128, to, 1);
      gpu.launch("fault_early_copy", ONE, 64, 128, from, to, 1);
    }
  }

  @Test
  void sharedMemoryHoldsNoNumbersUntilItIsWrittenAndCopiesAreWaitedFor() {
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      MemorySegment to = gpu.bytes(12);
      gpu.launch("fault_unwritten", ONE, 64, 64, gpu.bf16s(1, 2, 3, 4, 5, 6, 7, 8), to);
      float[] read = EmulatedGpu.floatsOf(to);
      assertTrue(Float.isNaN(read[0]), "before the copy has landed");
      assertTrue(Float.isNaN(read[1]), "never written");
      assertEquals(1f, read[2]);
    }
  }

  @Test
  void anUnknownKernelAndAnImpossibleLaunchAreRefused() {
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      assertReported(gpu.attempt("no_such_kernel", ONE, 32, 0), "no_such_kernel", "expected");
      assertReported(
          gpu.attempt("fault_shared", new Grid(1, 70000, 1), 64, 0, 0L), "70000", "expected");
      assertReported(gpu.attempt("fault_shared", ONE, 2048, 0, 0L), "2048", "expected");
    }
  }
}
