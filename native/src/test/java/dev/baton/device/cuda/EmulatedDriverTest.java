package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUresult;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** The emulated driver forgives nothing that the CUDA driver API's documentation forbids. */
final class EmulatedDriverTest {

  private static final CudaDriver DRIVER = CudaDriver.open(true);
  private static final int NEW = -1;

  private final CudaGpu gpu = new CudaGpu(DRIVER, 0, 0.01);
  private final CudaGpu other = new CudaGpu(DRIVER, 1, 0.01);
  private boolean otherFailed;

  EmulatedDriverTest() {
    gpu.bind();
  }

  @AfterEach
  void close() {
    gpu.close();
    if (!otherFailed) {
      other.close();
    }
  }

  private static void assertRefused(String error, Executable call) {
    String message = String.valueOf(assertThrows(CudaException.class, call).getMessage());
    assertTrue(message.contains(error), message + " (expected: with " + error + ")");
  }

  private MemorySegment pinned(int value) {
    MemorySegment memory = gpu.pinned(Integer.BYTES);
    memory.set(JAVA_INT, 0, value);
    return memory;
  }

  private static void add(CudaGpu on, CUstream stream, MemorySegment x, int block) {
    new Launch(on, stream)
        .of("add")
        .address(x.address())
        .number(1)
        .address(x.address())
        .number(1)
        .address(x.address())
        .number(1)
        .run(1, 1, 1, block, 0);
  }

  @Test
  void aStreamsWorkIsDoneNoSoonerThanItIsWaitedFor() {
    CUstream stream = gpu.stream();
    MemorySegment from = pinned(1);
    MemorySegment onGpu = gpu.allocate(Integer.BYTES, "test");
    MemorySegment to = pinned(NEW);
    DRIVER.upload(onGpu.address(), from, stream);
    DRIVER.download(to, onGpu.address(), stream);
    from.set(JAVA_INT, 0, 2);
    assertEquals(NEW, to.get(JAVA_INT, 0), "read too soon");
    DRIVER.synchronize(stream);
    assertEquals(2, to.get(JAVA_INT, 0), "written again too soon");
  }

  @Test
  void anEventIsWaitedForUpToWhereItWasRecorded() {
    CUstream stream = gpu.stream();
    CUstream follower = gpu.stream();
    CUevent event = DRIVER.createEvent(true);
    MemorySegment onGpu = gpu.allocate(Integer.BYTES, "test");
    MemorySegment first = pinned(NEW);
    MemorySegment second = pinned(NEW);
    DRIVER.fill(onGpu.address(), 7, 1, stream);
    DRIVER.record(event, stream);
    assertRefused("NOT_READY", () -> DRIVER.millis(event, event));
    DRIVER.await(follower, event);
    DRIVER.download(first, onGpu.address(), follower);
    DRIVER.fill(onGpu.address(), 8, 1, stream);
    DRIVER.synchronize(follower);
    assertEquals(7, first.get(JAVA_INT, 0));
    DRIVER.download(second, onGpu.address(), follower);
    DRIVER.synchronize(follower);
    assertEquals(7, second.get(JAVA_INT, 0), "what nobody waited for");
    assertEquals(0f, DRIVER.millis(event, event));
    DRIVER.destroy(event);
    assertRefused("INVALID_HANDLE", () -> DRIVER.record(event, stream));
  }

  @Test
  void memoryThatIsNotPinnedIsTakenAtOnceAndNeverByAGraph() {
    CUstream stream = gpu.stream();
    MemorySegment onGpu = gpu.allocate(Integer.BYTES, "test");
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment heap = arena.allocateFrom(JAVA_INT, 5);
      DRIVER.upload(onGpu.address(), heap, stream);
      heap.set(JAVA_INT, 0, 6);
      DRIVER.download(heap, onGpu.address(), stream);
      assertEquals(5, heap.get(JAVA_INT, 0));
      DRIVER.beginCapture(stream);
      assertRefused("CAPTURE_UNSUPPORTED", () -> DRIVER.upload(onGpu.address(), heap, stream));
      assertRefused("CAPTURE_INVALIDATED", () -> DRIVER.endCapture(stream));
    }
  }

  @Test
  void waitingForACapturedStreamSpoilsTheCapture() {
    CUstream stream = gpu.stream();
    CUevent event = DRIVER.createEvent(false);
    MemorySegment onGpu = gpu.allocate(Integer.BYTES, "test");
    DRIVER.beginCapture(stream);
    DRIVER.record(event, stream);
    assertRefused("CAPTURED_EVENT", () -> DRIVER.synchronize(event));
    assertRefused("CAPTURE_UNSUPPORTED", () -> DRIVER.synchronize(stream));
    assertRefused("CAPTURE_INVALIDATED", () -> DRIVER.clear(onGpu.address(), 4, stream));
    assertRefused("CAPTURE_INVALIDATED", () -> DRIVER.endCapture(stream));

    DRIVER.beginCapture(stream);
    assertEquals(900, JCudaDriver.cuCtxSynchronize());
    assertRefused("CAPTURE_INVALIDATED", () -> DRIVER.endCapture(stream));

    DRIVER.beginCapture(stream);
    DRIVER.fill(onGpu.address(), 9, 1, stream);
    CUgraphExec graph = DRIVER.endCapture(stream);
    DRIVER.launch(graph, stream);
    DRIVER.destroy(graph);
    MemorySegment to = pinned(NEW);
    DRIVER.download(to, onGpu.address(), stream);
    DRIVER.synchronize(stream);
    assertEquals(9, to.get(JAVA_INT, 0));
  }

  @Test
  void aCaptureThatIsNotRelaxedForbidsOthersToAllocate() throws Exception {
    CUstream stream = gpu.stream();
    CUdeviceptr memory = new CUdeviceptr();
    assertEquals(CUresult.CUDA_SUCCESS, JCudaDriver.cuStreamBeginCapture(stream, 0));
    int[] status = {CUresult.CUDA_SUCCESS};
    Thread allocates =
        new Thread(
            () -> {
              gpu.bind();
              status[0] = JCudaDriver.cuMemAlloc(memory, 16);
            });
    allocates.start();
    allocates.join();
    assertEquals(900, status[0]);
    assertRefused("CAPTURE_INVALIDATED", () -> DRIVER.endCapture(stream));

    DRIVER.beginCapture(stream);
    gpu.allocate(16, "beside a relaxed one");
    DRIVER.destroy(DRIVER.endCapture(stream));
  }

  @Test
  void streamsEventsAndKernelsBelongToTheirContext() {
    MemorySegment onGpu = gpu.allocate(Integer.BYTES, "test");
    CUstream there = other.stream();
    CUevent event = DRIVER.createEvent(false);
    CUstream here = gpu.stream();
    gpu.bind();
    assertRefused("INVALID_HANDLE", () -> DRIVER.clear(onGpu.address(), 4, there));
    assertRefused("INVALID_HANDLE", () -> DRIVER.record(event, here));
    assertRefused("INVALID_HANDLE", () -> add(gpu, there, onGpu, 32));
    other.kernel("add");
    gpu.bind();
    assertRefused("INVALID_HANDLE", () -> add(other, here, onGpu, 32));
    CUstream gone = DRIVER.createStream();
    DRIVER.destroy(gone);
    assertRefused("INVALID_HANDLE", () -> DRIVER.synchronize(gone));
  }

  @Test
  void aThreadWithoutAContextCanDoNothing() throws Exception {
    int[] status = {CUresult.CUDA_SUCCESS, CUresult.CUDA_SUCCESS};
    Thread unbound =
        new Thread(
            () -> {
              status[0] = JCudaDriver.cuMemAlloc(new CUdeviceptr(), 16);
              status[1] = JCudaDriver.cuStreamSynchronize(gpu.setup());
            });
    unbound.start();
    unbound.join();
    assertEquals(201, status[0]);
    assertEquals(201, status[1]);
  }

  @Test
  void kernelsReachOtherGpusOnlyWhereTheyWereLetTo() {
    MemorySegment theirs = other.allocate(Integer.BYTES, "test");
    CUstream stream = gpu.stream();
    gpu.reach(other);
    add(gpu, stream, theirs, 32);
    DRIVER.synchronize(stream);

    MemorySegment ours = gpu.allocate(Integer.BYTES, "test");
    CUstream there = other.stream();
    add(other, there, ours, 32);
    assertRefused("LAUNCH_FAILED", () -> DRIVER.synchronize(there));
    // As after any failed kernel; whoever opens the GPU again begins anew.
    assertRefused("LAUNCH_FAILED", () -> DRIVER.clear(theirs.address(), 4, there));
    otherFailed = true;
    assertRefused("LAUNCH_FAILED", other::close);
    try (CudaGpu again = new CudaGpu(DRIVER, 1, 0.01)) {
      again.allocate(Integer.BYTES, "test");
    }
  }

  @Test
  void peersAreTwoGpus() {
    int[] can = {1};
    CUdevice device = DRIVER.device(0);
    JCudaDriver.cuDeviceCanAccessPeer(can, device, device);
    assertEquals(0, can[0]);
    CUcontext own = DRIVER.retain(device);
    assertRefused("INVALID_DEVICE", () -> DRIVER.enablePeer(own));
    DRIVER.release(device);
  }

  @Test
  void copiesStayWithinOneAllocation() {
    CUstream stream = gpu.stream();
    MemorySegment onGpu = gpu.allocate(64, "test");
    MemorySegment host = gpu.pinned(256);
    assertRefused("INVALID_VALUE", () -> DRIVER.upload(onGpu.address(), host, stream));
    assertRefused("INVALID_VALUE", () -> DRIVER.download(host, onGpu.address() + 8, stream));
    assertRefused("INVALID_VALUE", () -> DRIVER.clear(onGpu.address(), 65, stream));
    assertRefused("INVALID_VALUE", () -> DRIVER.clear(host.address(), 4, stream));
    assertRefused("INVALID_VALUE", () -> DRIVER.fill(onGpu.address() + 2, 0, 1, stream));
    assertRefused(
        "INVALID_VALUE",
        () -> DRIVER.copyRows(onGpu.address(), 16, onGpu.address(), 32, 16, 3, stream));
  }

  @Test
  void aBlockHasNoMoreThreadsThanItsKernelWasMadeFor() {
    MemorySegment onGpu = gpu.allocate(Integer.BYTES, "test");
    assertRefused("OUT_OF_RESOURCES", () -> add(gpu, gpu.setup(), onGpu, 288));
  }
}
