package dev.baton.device.cuda;

import dev.baton.device.OutOfDeviceMemoryException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUfunction;
import jcuda.driver.CUmodule;
import jcuda.driver.CUstream;

/**
 * One GPU: its context, its kernels and the account of its memory. All memory is handed out of one
 * budget, a share of what was free when the GPU was opened, and freed at once by {@link #close}.
 * Any thread may call everything but {@link #close}.
 */
final class CudaGpu implements AutoCloseable {

  private static final int MAJOR = 75;
  private static final int MINOR = 76;
  private static final int MULTIPROCESSORS = 16;
  private static final int THREADS_EACH = 39;

  /** Of a thread, what a context has from the beginning. */
  private static final int PLAIN_LOCAL_BYTES = 1024;

  /** What every kernel may have without asking. */
  private static final int PLAIN_SHARED_BYTES = 48 << 10;

  /** Which GPU the thread's driver calls go to. */
  private static final ThreadLocal<CudaGpu> BOUND = new ThreadLocal<>();

  private final CudaDriver driver;
  private final int ordinal;
  private final CUdevice device;
  private final CUcontext context;
  private final String name;
  private final int capability;
  private final int multiprocessors;
  private final long free;
  private final long total;
  private final long budget;

  private final Arena arena = Arena.ofShared();
  private final Map<String, CUmodule> homes = new HashMap<>();
  private final Map<String, Kernel> kernels = new ConcurrentHashMap<>();
  private final List<CUmodule> modules = new ArrayList<>();
  private final CUstream setup;

  /** Guarded by this. */
  private final Set<Long> addresses = new HashSet<>();

  private final List<MemorySegment> pinned = new ArrayList<>();
  private final List<CUstream> streams = new ArrayList<>();
  private long handedOut;

  /** A kernel, and how much dynamic shared memory it has been allowed so far. */
  static final class Kernel {
    final String name;
    final CUfunction function;
    private int allowed = PLAIN_SHARED_BYTES;

    Kernel(String name, CUfunction function) {
      this.name = name;
      this.function = function;
    }

    synchronized void allow(CudaDriver driver, int sharedBytes) {
      if (sharedBytes > allowed) {
        driver.allowShared(function, sharedBytes);
        allowed = sharedBytes;
      }
    }
  }

  /**
   * @param utilization the share of free memory that may be handed out, above 0 and at most 1
   */
  CudaGpu(CudaDriver driver, int ordinal, double utilization) {
    this.driver = driver;
    this.ordinal = ordinal;
    device = driver.device(ordinal);
    name = driver.name(device);
    capability = 10 * driver.attribute(device, MAJOR) + driver.attribute(device, MINOR);
    multiprocessors = driver.attribute(device, MULTIPROCESSORS);
    if (capability < KernelCode.LEAST_CAPABILITY) {
      throw new CudaUnavailableException(
          "GPU %d: %s, compute capability %d.%d (expected: at least %d.%d)"
              .formatted(
                  ordinal,
                  name,
                  capability / 10,
                  capability % 10,
                  KernelCode.LEAST_CAPABILITY / 10,
                  KernelCode.LEAST_CAPABILITY % 10));
    }
    context = driver.retain(device);
    driver.bind(context);
    BOUND.set(this);
    KernelCode.load(driver)
        .forEach(
            (code, names) -> {
              CUmodule module = KernelCode.module(driver, code);
              modules.add(module);
              names.forEach(kernel -> homes.put(kernel, module));
            });
    reserveLocal();
    long[] memory = driver.memory();
    free = memory[0];
    total = memory[1];
    budget = (long) (free * utilization);
    setup = stream();
  }

  /**
   * Local memory is for as many threads as the GPU can hold, some hundred MiB, and is taken when a
   * kernel that needs more than those before is launched for the first time: then the driver waits
   * for all other kernels, of which one may wait for this very launch, that of another rank. So it
   * is taken here, before free memory is counted.
   */
  private void reserveLocal() {
    int most = 0;
    for (String kernel : homes.keySet()) {
      most = Math.max(most, driver.localBytes(kernel(kernel).function));
    }
    if (most > PLAIN_LOCAL_BYTES) {
      driver.reserveLocal(most);
    }
  }

  /** Directs this thread's calls of the driver to this GPU. */
  void bind() {
    if (BOUND.get() != this) {
      driver.bind(context);
      BOUND.set(this);
    }
  }

  CudaDriver driver() {
    return driver;
  }

  int ordinal() {
    return ordinal;
  }

  String busId() {
    return driver.busId(device);
  }

  /** Threads that a multiprocessor holds at once. */
  int threadsEach() {
    return driver.attribute(device, THREADS_EACH);
  }

  int multiprocessors() {
    return multiprocessors;
  }

  /** Bytes that were free when the GPU was opened. */
  long freeAtStart() {
    return free;
  }

  /** Bytes that may be handed out in all. */
  long budget() {
    return budget;
  }

  /** Bytes handed out so far. */
  synchronized long handedOut() {
    return handedOut;
  }

  String description() {
    return "%d: %s, compute capability %d.%d, %s, %s free, %s of it for Baton"
        .formatted(
            ordinal, name, capability / 10, capability % 10, size(total), size(free), size(budget));
  }

  /** Lets kernels here read and write the other GPU's memory. */
  void reach(CudaGpu other) {
    if (other.ordinal == ordinal) {
      return;
    }
    if (!driver.canAccess(device, other.device)) {
      throw new CudaUnavailableException(
          "GPU %d: no access to the memory of GPU %d (expected: peer access, by NVLink or PCIe; use fewer ranks or other --gpus)"
              .formatted(ordinal, other.ordinal));
    }
    bind();
    driver.enablePeer(other.context);
  }

  Kernel kernel(String kernel) {
    return kernels.computeIfAbsent(kernel, this::find);
  }

  private Kernel find(String kernel) {
    CUmodule home = driver.emulated() ? modules.getFirst() : homes.get(kernel);
    if (home == null) {
      throw new CudaUnavailableException(
          "kernel: %s is not in this build (expected: one of %s)"
              .formatted(kernel, homes.keySet()));
    }
    bind();
    return new Kernel(kernel, driver.function(home, kernel));
  }

  /** Memory of the GPU, zeroed. */
  MemorySegment allocate(long bytes, String what) {
    return allocate(bytes, what, true);
  }

  @SuppressWarnings("restricted") // gives the GPU's memory its size; nobody reads it here
  MemorySegment allocate(long bytes, String what, boolean zeroed) {
    if (bytes < 0) {
      throw new IllegalArgumentException("%s: %d bytes (expected: >= 0)".formatted(what, bytes));
    }
    // An allocation of nothing has an address too, as it is passed on like any other.
    long taken = Math.max(bytes, 1);
    bind();
    long address;
    synchronized (this) {
      if (taken > budget - handedOut) {
        throw new OutOfDeviceMemoryException(refused(bytes, what, "the budget"));
      }
      address = driver.allocate(taken);
      if (address == 0) {
        throw new OutOfDeviceMemoryException(
            refused(bytes, what, "what the driver finds, others may use this GPU too"));
      }
      handedOut += taken;
      addresses.add(address);
      if (zeroed) {
        driver.clear(address, taken, setup);
        driver.synchronize(setup);
      }
    }
    return MemorySegment.ofAddress(address).reinterpret(bytes, arena, null);
  }

  private String refused(long bytes, String what, String limit) {
    return "%s: %s on GPU %d (expected: at most %s, %s; %s free at start, %s handed out so far; use a smaller KV cache or step, more GPUs or a larger --gpu-memory-utilization)"
        .formatted(
            what,
            size(bytes),
            ordinal,
            size(Math.max(0, budget - handedOut)),
            limit,
            size(free),
            size(handedOut));
  }

  /** Whether memory was handed out here. */
  synchronized boolean holds(MemorySegment memory) {
    return addresses.contains(memory.address());
  }

  /** Host memory that copies run from and to at the full rate; lives as long as the GPU's. */
  MemorySegment pinned(long bytes) {
    bind();
    MemorySegment memory = driver.allocateHost(Math.max(bytes, 1));
    synchronized (this) {
      pinned.add(memory);
    }
    return memory.asSlice(0, bytes);
  }

  /** The stream of copies that nobody else waits behind for long; any thread. */
  CUstream setup() {
    return setup;
  }

  /** A stream of its own order; lives as long as the GPU. */
  CUstream stream() {
    bind();
    CUstream stream = driver.createStream();
    synchronized (this) {
      streams.add(stream);
    }
    return stream;
  }

  /** Gives the context back also when a kernel has failed, which is told; it takes all with it. */
  @Override
  public synchronized void close() {
    try {
      bind();
      streams.forEach(driver::synchronize);
      streams.forEach(driver::destroy);
      addresses.forEach(driver::free);
      pinned.forEach(driver::freeHost);
      modules.forEach(driver::unload);
    } finally {
      arena.close();
      driver.release(device);
      BOUND.remove();
    }
  }

  static String size(long bytes) {
    boolean large = bytes >= 1L << 30;
    return String.format(
        Locale.ROOT, "%.1f %s", bytes / (large ? 0x1p30 : 0x1p20), large ? "GiB" : "MiB");
  }
}
