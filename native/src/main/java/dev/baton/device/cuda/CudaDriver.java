package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.baton.device.host.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import jcuda.LogLevel;
import jcuda.Pointer;
import jcuda.driver.CUDA_MEMCPY2D;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUfunction;
import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUmemorytype;
import jcuda.driver.CUmodule;
import jcuda.driver.CUresult;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;
import org.jspecify.annotations.Nullable;

/**
 * What Baton calls of the CUDA driver's API, through JCuda; every failure is a {@link
 * CudaException} that names the call. A process has one driver: the machine's libcuda.so.1, or the
 * emulated one. Any thread may call; calls act on the thread's current context.
 */
final class CudaDriver {

  /** The oldest driver whose API has all that is called. */
  private static final int LEAST_VERSION = 12_000;

  private static final int NO_DEVICE = 100;
  private static final int OUT_OF_MEMORY = 2;
  private static final int NON_BLOCKING = 1;
  private static final int PORTABLE = 1;
  private static final int DISABLE_TIMING = 2;
  private static final int CAPTURE_RELAXED = 2;
  private static final int DYNAMIC_SHARED_BYTES = 8;
  private static final int LOCAL_BYTES = 3;
  private static final int LIMIT_STACK = 0;
  private static final int PEER_ALREADY_ENABLED = 704;

  static final NativeLibrary EMULATED =
      new NativeLibrary("libbaton_cuda_emulated.so", "--device cpu");

  private static @Nullable CudaDriver open;

  private final boolean emulated;

  private CudaDriver(boolean emulated) {
    this.emulated = emulated;
  }

  /** The process's driver, loaded at the first call. */
  static synchronized CudaDriver open(boolean emulated) {
    CudaDriver own = open;
    if (own == null) {
      own = load(emulated);
      open = own;
    }
    if (own.emulated != emulated) {
      throw new CudaUnavailableException(
          "device: %s (expected: %s, which this process has loaded already)"
              .formatted(name(emulated), name(own.emulated)));
    }
    return own;
  }

  private static String name(boolean emulated) {
    return emulated ? "emulated-cuda" : "cuda";
  }

  private static CudaDriver load(boolean emulated) {
    // Before the library is loaded, which reads them. Code that is loaded at its first launch would
    // be loaded while a step is recorded; and ranks that
    // share a GPU wait for one another in kernels, so that their streams must not share a queue.
    setEnvironment("CUDA_MODULE_LOADING", "EAGER");
    setEnvironment("CUDA_DEVICE_MAX_CONNECTIONS", "32");
    loadLibrary(emulated);
    try {
      JCudaDriver.setLogLevel(LogLevel.LOG_QUIET);
      JCudaDriver.setExceptionsEnabled(false);
    } catch (UnsatisfiedLinkError e) {
      throw new CudaUnavailableException(
          "JCuda's driver library: %s (expected: Linux on x86-64, and a temporary directory that allows execution; -Djava.io.tmpdir names another)"
              .formatted(firstLine(e)));
    }
    int status = JCudaDriver.cuInit(0);
    if (status == NO_DEVICE) {
      throw new CudaUnavailableException(
          "GPU: none that the NVIDIA driver shows (expected: at least one; look at nvidia-smi and"
              + " CUDA_VISIBLE_DEVICES; --device cpu runs without)");
    }
    check("cuInit", status);
    int[] version = new int[1];
    check("cuDriverGetVersion", JCudaDriver.cuDriverGetVersion(version));
    if (version[0] < LEAST_VERSION) {
      throw new CudaUnavailableException(
          "NVIDIA driver: for CUDA %d.%d (expected: at least 12.0; install a newer driver, or use --device cpu)"
              .formatted(version[0] / 1000, version[0] % 1000 / 10));
    }
    return new CudaDriver(emulated);
  }

  @SuppressWarnings("restricted") // the system's library, or our own
  private static void loadLibrary(boolean emulated) {
    if (emulated) {
      // Its soname is libcuda.so.1, which JCuda's library then finds loaded.
      EMULATED.load();
      return;
    }
    for (String candidate : SystemLibrary.candidates("libcuda.so.1")) {
      try {
        SymbolLookup.libraryLookup(candidate, Arena.global());
        return;
      } catch (IllegalArgumentException e) {
        // The next place may have it; the message below tells that none has.
        continue;
      }
    }
    throw new CudaUnavailableException(
        "libcuda.so.1: not on this machine (expected: an NVIDIA GPU and its driver, for CUDA 12.0"
            + " or newer; in a container, one that was started with GPUs; --device cpu runs"
            + " without)");
  }

  /** Of this process, for the driver to read; what is set already stays. */
  @SuppressWarnings("restricted") // the C library's own
  private static void setEnvironment(String name, String value) {
    Linker linker = Linker.nativeLinker();
    MethodHandle setenv =
        linker.downcallHandle(
            linker.defaultLookup().find("setenv").orElseThrow(),
            FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_INT));
    try (Arena arena = Arena.ofConfined()) {
      int status = (int) setenv.invokeExact(arena.allocateFrom(name), arena.allocateFrom(value), 0);
      if (status != 0) {
        throw new IllegalStateException("setenv %s: failed".formatted(name));
      }
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException("setenv %s: %s".formatted(name, e), e);
    }
  }

  private static String firstLine(Throwable e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse("");
  }

  boolean emulated() {
    return emulated;
  }

  /** Throws when a call has not succeeded. */
  static void check(String call, int status) {
    if (status != CUresult.CUDA_SUCCESS) {
      String[] name = {""};
      String[] text = {""};
      JCudaDriver.cuGetErrorName(status, name);
      JCudaDriver.cuGetErrorString(status, text);
      throw new CudaException("%s: %s (%d): %s".formatted(call, name[0], status, text[0]));
    }
  }

  int version() {
    int[] version = new int[1];
    check("cuDriverGetVersion", JCudaDriver.cuDriverGetVersion(version));
    return version[0];
  }

  int devices() {
    int[] count = new int[1];
    check("cuDeviceGetCount", JCudaDriver.cuDeviceGetCount(count));
    return count[0];
  }

  CUdevice device(int ordinal) {
    CUdevice device = new CUdevice();
    check("cuDeviceGet", JCudaDriver.cuDeviceGet(device, ordinal));
    return device;
  }

  String name(CUdevice device) {
    byte[] name = new byte[256];
    check("cuDeviceGetName", JCudaDriver.cuDeviceGetName(name, name.length, device));
    int end = 0;
    while (end < name.length && name[end] != 0) {
      end++;
    }
    return new String(name, 0, end, java.nio.charset.StandardCharsets.UTF_8);
  }

  /** As NVML names it, such as {@code 0000:65:00.0}. */
  String busId(CUdevice device) {
    String[] id = {""};
    check("cuDeviceGetPCIBusId", JCudaDriver.cuDeviceGetPCIBusId(id, 32, device));
    return id[0];
  }

  int attribute(CUdevice device, int attribute) {
    int[] value = new int[1];
    check("cuDeviceGetAttribute", JCudaDriver.cuDeviceGetAttribute(value, attribute, device));
    return value[0];
  }

  CUcontext retain(CUdevice device) {
    CUcontext context = new CUcontext();
    check("cuDevicePrimaryCtxRetain", JCudaDriver.cuDevicePrimaryCtxRetain(context, device));
    return context;
  }

  void release(CUdevice device) {
    check("cuDevicePrimaryCtxRelease", JCudaDriver.cuDevicePrimaryCtxRelease(device));
  }

  void bind(CUcontext context) {
    check("cuCtxSetCurrent", JCudaDriver.cuCtxSetCurrent(context));
  }

  boolean canAccess(CUdevice from, CUdevice to) {
    int[] can = new int[1];
    check("cuDeviceCanAccessPeer", JCudaDriver.cuDeviceCanAccessPeer(can, from, to));
    return can[0] != 0;
  }

  /** Lets the current context reach the memory of another one. */
  void enablePeer(CUcontext other) {
    int status = JCudaDriver.cuCtxEnablePeerAccess(other, 0);
    if (status != PEER_ALREADY_ENABLED) {
      check("cuCtxEnablePeerAccess", status);
    }
  }

  /** Free and total bytes of the current context's GPU. */
  long[] memory() {
    long[] free = new long[1];
    long[] total = new long[1];
    check("cuMemGetInfo", JCudaDriver.cuMemGetInfo(free, total));
    return new long[] {free[0], total[0]};
  }

  /** 0 = there is not so much. */
  long allocate(long bytes) {
    CUdeviceptr address = new CUdeviceptr();
    int status = JCudaDriver.cuMemAlloc(address, bytes);
    if (status == OUT_OF_MEMORY) {
      return 0;
    }
    check("cuMemAlloc", status);
    return Address.of(address);
  }

  void free(long address) {
    check("cuMemFree", JCudaDriver.cuMemFree(Address.device(address)));
  }

  /** Pinned memory that all contexts may copy from and to, and whose address is theirs too. */
  @SuppressWarnings("restricted") // gives what the driver has allocated its size
  MemorySegment allocateHost(long bytes) {
    Pointer pointer = new Pointer();
    check("cuMemHostAlloc", JCudaDriver.cuMemHostAlloc(pointer, bytes, PORTABLE));
    return MemorySegment.ofAddress(Address.of(pointer)).reinterpret(bytes);
  }

  void freeHost(MemorySegment memory) {
    check("cuMemFreeHost", JCudaDriver.cuMemFreeHost(Address.host(memory)));
  }

  CUstream createStream() {
    CUstream stream = Address.stream();
    check("cuStreamCreate", JCudaDriver.cuStreamCreate(stream, NON_BLOCKING));
    return stream;
  }

  void destroy(CUstream stream) {
    check("cuStreamDestroy", JCudaDriver.cuStreamDestroy(stream));
  }

  void synchronize(CUstream stream) {
    check("cuStreamSynchronize", JCudaDriver.cuStreamSynchronize(stream));
  }

  void upload(long to, MemorySegment from, CUstream stream) {
    check(
        "cuMemcpyHtoDAsync",
        JCudaDriver.cuMemcpyHtoDAsync(
            Address.device(to), Address.host(from), from.byteSize(), stream));
  }

  void download(MemorySegment to, long from, CUstream stream) {
    check(
        "cuMemcpyDtoHAsync",
        JCudaDriver.cuMemcpyDtoHAsync(
            Address.host(to), Address.device(from), to.byteSize(), stream));
  }

  void copy(long to, long from, long bytes, CUstream stream) {
    check(
        "cuMemcpyDtoDAsync",
        JCudaDriver.cuMemcpyDtoDAsync(Address.device(to), Address.device(from), bytes, stream));
  }

  /** Copies {@code rows} of {@code width} bytes each; also from GPU to GPU. */
  void copyRows(
      long to, long toPitch, long from, long fromPitch, long width, long rows, CUstream stream) {
    CUDA_MEMCPY2D copy = new CUDA_MEMCPY2D();
    copy.srcMemoryType = CUmemorytype.CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = Address.device(from);
    copy.srcPitch = fromPitch;
    copy.dstMemoryType = CUmemorytype.CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = Address.device(to);
    copy.dstPitch = toPitch;
    copy.WidthInBytes = width;
    copy.Height = rows;
    check("cuMemcpy2DAsync", JCudaDriver.cuMemcpy2DAsync(copy, stream));
  }

  void clear(long at, long bytes, CUstream stream) {
    check(
        "cuMemsetD8Async",
        JCudaDriver.cuMemsetD8Async(Address.device(at), (byte) 0, bytes, stream));
  }

  /** Writes {@code count} times the int32 {@code value}. */
  void fill(long at, int value, long count, CUstream stream) {
    check(
        "cuMemsetD32Async", JCudaDriver.cuMemsetD32Async(Address.device(at), value, count, stream));
  }

  CUevent createEvent(boolean timed) {
    CUevent event = new CUevent();
    check("cuEventCreate", JCudaDriver.cuEventCreate(event, timed ? 0 : DISABLE_TIMING));
    return event;
  }

  void destroy(CUevent event) {
    check("cuEventDestroy", JCudaDriver.cuEventDestroy(event));
  }

  void record(CUevent event, CUstream stream) {
    check("cuEventRecord", JCudaDriver.cuEventRecord(event, stream));
  }

  void synchronize(CUevent event) {
    check("cuEventSynchronize", JCudaDriver.cuEventSynchronize(event));
  }

  void await(CUstream stream, CUevent event) {
    check("cuStreamWaitEvent", JCudaDriver.cuStreamWaitEvent(stream, event, 0));
  }

  float millis(CUevent from, CUevent to) {
    float[] millis = new float[1];
    check("cuEventElapsedTime", JCudaDriver.cuEventElapsedTime(millis, from, to));
    return millis[0];
  }

  CUmodule loadModule(byte[] code) {
    CUmodule module = new CUmodule();
    check("cuModuleLoadData", JCudaDriver.cuModuleLoadData(module, code));
    return module;
  }

  void unload(CUmodule module) {
    check("cuModuleUnload", JCudaDriver.cuModuleUnload(module));
  }

  CUfunction function(CUmodule module, String name) {
    CUfunction function = new CUfunction();
    check("cuModuleGetFunction " + name, JCudaDriver.cuModuleGetFunction(function, module, name));
    return function;
  }

  /** Bytes of local memory that each thread of a kernel takes. */
  int localBytes(CUfunction function) {
    int[] bytes = new int[1];
    check("cuFuncGetAttribute", JCudaDriver.cuFuncGetAttribute(bytes, LOCAL_BYTES, function));
    return bytes[0];
  }

  /** Gives every thread of the current context so much local memory, now; waits for the GPU. */
  void reserveLocal(long bytes) {
    check("cuCtxSetLimit", JCudaDriver.cuCtxSetLimit(LIMIT_STACK, bytes));
  }

  /** Lets launches of a kernel have more dynamic shared memory than 48 KiB. */
  void allowShared(CUfunction function, int bytes) {
    check(
        "cuFuncSetAttribute",
        JCudaDriver.cuFuncSetAttribute(function, DYNAMIC_SHARED_BYTES, bytes));
  }

  /**
   * @param parameters pointers to the parameters, outside the heap; free for other use on return
   */
  void launch(
      String name,
      CUfunction function,
      int gridX,
      int gridY,
      int gridZ,
      int block,
      int sharedBytes,
      CUstream stream,
      Pointer parameters) {
    int status =
        JCudaDriver.cuLaunchKernel(
            function, gridX, gridY, gridZ, block, 1, 1, sharedBytes, stream, parameters, null);
    if (status != CUresult.CUDA_SUCCESS) {
      check(
          "launch of %s, grid %d x %d x %d, block %d, %d bytes shared"
              .formatted(name, gridX, gridY, gridZ, block, sharedBytes),
          status);
    }
  }

  void beginCapture(CUstream stream) {
    check("cuStreamBeginCapture", JCudaDriver.cuStreamBeginCapture(stream, CAPTURE_RELAXED));
  }

  /** What the stream was given since {@link #beginCapture}, ready to be launched. */
  CUgraphExec endCapture(CUstream stream) {
    CUgraph graph = new CUgraph();
    check("cuStreamEndCapture", JCudaDriver.cuStreamEndCapture(stream, graph));
    CUgraphExec executable = new CUgraphExec();
    try {
      check("cuGraphInstantiate", JCudaDriver.cuGraphInstantiate(executable, graph, 0));
    } finally {
      check("cuGraphDestroy", JCudaDriver.cuGraphDestroy(graph));
    }
    return executable;
  }

  /** Ends a capture that has failed; what it brought is thrown away. */
  void dropCapture(CUstream stream) {
    CUgraph graph = new CUgraph();
    if (JCudaDriver.cuStreamEndCapture(stream, graph) == CUresult.CUDA_SUCCESS) {
      check("cuGraphDestroy", JCudaDriver.cuGraphDestroy(graph));
    }
  }

  /** Brings a graph to the GPU, so that its first launch need not. */
  void upload(CUgraphExec graph, CUstream stream) {
    check("cuGraphUpload", JCudaDriver.cuGraphUpload(graph, stream));
  }

  void launch(CUgraphExec graph, CUstream stream) {
    check("cuGraphLaunch", JCudaDriver.cuGraphLaunch(graph, stream));
  }

  void destroy(CUgraphExec graph) {
    check("cuGraphExecDestroy", JCudaDriver.cuGraphExecDestroy(graph));
  }
}
