package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jcuda.Pointer;
import jcuda.driver.CUstream;

/**
 * Launches of one stream: parameters are written one after the other, in the kernel's order, then
 * the kernel is launched. Belongs to one thread at a time; makes no objects of its own per launch.
 */
final class Launch {

  private static final int MOST_PARAMETERS = 32;
  private static final int MOST_BYTES = 4096;

  private final CudaDriver driver;
  private final CudaGpu gpu;
  private final CUstream stream;
  private final MemorySegment values;
  private final MemorySegment pointers;
  private final Pointer parameters;
  private CudaGpu.Kernel kernel;
  private int count;
  private int at;

  Launch(CudaGpu gpu, CUstream stream) {
    this.gpu = gpu;
    this.driver = gpu.driver();
    this.stream = stream;
    Arena arena = Arena.ofAuto();
    values = arena.allocate(MOST_BYTES, Long.BYTES);
    pointers = arena.allocate((long) MOST_PARAMETERS * Long.BYTES, Long.BYTES);
    parameters = Address.host(pointers);
    kernel = gpu.kernel("add");
  }

  CUstream stream() {
    return stream;
  }

  /** Begins the parameters of a kernel. */
  Launch of(String name) {
    kernel = gpu.kernel(name);
    count = 0;
    at = 0;
    return this;
  }

  /** The next parameter, a pointer. */
  Launch address(long value) {
    long place = begin(Long.BYTES, Long.BYTES);
    values.set(JAVA_LONG, place, value);
    return this;
  }

  /** The next parameter, 64 bits. */
  Launch number(long value) {
    return address(value);
  }

  /** The next parameter, an int. */
  Launch number(int value) {
    long place = begin(Integer.BYTES, Integer.BYTES);
    values.set(JAVA_INT, place, value);
    return this;
  }

  /** The next parameter, a float. */
  Launch number(float value) {
    long place = begin(Float.BYTES, Float.BYTES);
    values.set(JAVA_FLOAT, place, value);
    return this;
  }

  /** The next parameter, a struct of so many bytes, to be written where this says. */
  MemorySegment struct(int bytes) {
    return values.asSlice(begin(bytes, Long.BYTES), bytes);
  }

  private long begin(int bytes, int alignment) {
    at = (at + alignment - 1) / alignment * alignment;
    if (count == MOST_PARAMETERS || at + bytes > MOST_BYTES) {
      throw new IllegalStateException(
          "parameters of %s: more than %d or %d bytes"
              .formatted(kernel.name, MOST_PARAMETERS, MOST_BYTES));
    }
    pointers.setAtIndex(ADDRESS, count++, values.asSlice(at));
    long place = at;
    at += bytes;
    return place;
  }

  /** Launches; a grid of nothing is no launch. */
  void run(int gridX, int gridY, int gridZ, int block, int sharedBytes) {
    if (gridX == 0 || gridY == 0 || gridZ == 0) {
      return;
    }
    kernel.allow(driver, sharedBytes);
    driver.launch(
        kernel.name, kernel.function, gridX, gridY, gridZ, block, sharedBytes, stream, parameters);
  }

  void run(int grid, int block, int sharedBytes) {
    run(grid, 1, 1, block, sharedBytes);
  }
}
