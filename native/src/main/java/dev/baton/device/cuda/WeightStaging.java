package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.DType;
import dev.baton.device.RandomElements;
import dev.baton.device.UnusableElementException;
import dev.baton.device.WeightSlice;
import java.lang.foreign.MemorySegment;
import jcuda.driver.CUevent;
import jcuda.driver.CUstream;

/**
 * Brings slices of a checkpoint to a GPU: rows go from the mapped file to one of two pinned
 * buffers, from there to the GPU, where a kernel looks for elements that are no numbers and another
 * one puts the rest in its place; while one buffer travels the other is filled. Random rows are
 * made on the GPU and travel nowhere. One thread at a time.
 */
final class WeightStaging {

  /** Bytes of a buffer, at least; a power of two of rows that the link carries in about 0.2 ms. */
  private static final long BYTES = 8L << 20;

  /** A gated weight's rows lie in groups of so many. */
  private static final int ROWS = CudaGatedWeight.GROUP;

  /** The grid's second dimension ends there. */
  private static final int MOST_ROWS = 32_768;

  private static final int BLOCK = 256;

  private final CudaGpu gpu;
  private final CudaDriver driver;
  private final CUstream stream;
  private final Launch launch;
  private final Buffer[] buffers = new Buffer[2];

  /** One of the two, and the rows in it that are on their way. */
  private final class Buffer {
    final CUevent done = driver.createEvent(false);
    final MemorySegment found = gpu.pinned(Long.BYTES);
    final MemorySegment foundOnGpu = gpu.allocate(Long.BYTES, "staging");
    MemorySegment host = MemorySegment.NULL;
    MemorySegment onGpu = MemorySegment.NULL;
    boolean travelling;
    long firstPlace;

    void reserve(long bytes) {
      if (host.byteSize() < bytes) {
        // What it had stays with the GPU until it is closed; a row seldom needs more.
        host = gpu.pinned(Math.max(bytes, BYTES));
        onGpu = gpu.allocate(host.byteSize(), "staging");
      }
    }

    /** Waits until the rows have arrived; throws when one of their elements is unusable. */
    void await() {
      if (!travelling) {
        return;
      }
      travelling = false;
      driver.synchronize(done);
      long place = found.get(JAVA_LONG, 0);
      if (place != -1) {
        throw new UnusableElementException(firstPlace + place);
      }
    }
  }

  /** Does with rows on the GPU what they were brought for, on the given stream. */
  interface Use {
    /**
     * @param rows {@code [count][columns]} of the slice's dtype, dense
     * @param row the first one's number in the slice
     */
    void rows(Launch launch, long rows, int row, int count);
  }

  WeightStaging(CudaGpu gpu) {
    this.gpu = gpu;
    driver = gpu.driver();
    stream = gpu.stream();
    launch = new Launch(gpu, stream);
    buffers[0] = new Buffer();
    buffers[1] = new Buffer();
  }

  /** GPU memory that a staging takes as a rule. */
  static long bytes() {
    return 2 * (BYTES + Long.BYTES);
  }

  /** Brings the slice's rows, piece by piece, and returns when all has been done. */
  void bring(WeightSlice slice, Use use) {
    gpu.bind();
    int rows = slice.rowTo() - slice.rowFrom();
    int columns = slice.columnTo() - slice.columnFrom();
    if (rows == 0 || columns == 0) {
      return;
    }
    long rowBytes = (long) columns * slice.dtype().bytes();
    int piece = Math.clamp(BYTES / rowBytes / ROWS * ROWS, ROWS, MOST_ROWS);
    int next = 0;
    try {
      for (int row = 0; row < rows; row += piece) {
        int count = Math.min(piece, rows - row);
        Buffer buffer = buffers[next];
        next = 1 - next;
        buffer.await();
        buffer.reserve(piece * rowBytes);
        RandomElements random = slice.random();
        if (random == null) {
          upload(buffer, slice, row, count, rowBytes);
        } else {
          long first = (slice.rowFrom() + row) * (long) slice.columns() + slice.columnFrom();
          make(random, launch, buffer.onGpu.address(), first, slice.columns(), count, columns);
          buffer.found.set(JAVA_LONG, 0, -1);
        }
        use.rows(launch, buffer.onGpu.address(), row, count);
        driver.record(buffer.done, stream);
        buffer.travelling = true;
        buffer.firstPlace = (long) row * columns;
      }
      // The older piece first, so that the first unusable element is the one that is told.
      buffers[next].await();
      buffers[1 - next].await();
    } finally {
      driver.synchronize(stream);
      buffers[0].travelling = false;
      buffers[1].travelling = false;
    }
  }

  /** Sends rows on their way, and a kernel after them that looks for unusable elements. */
  private void upload(Buffer buffer, WeightSlice slice, int row, int count, long rowBytes) {
    int columns = slice.columnTo() - slice.columnFrom();
    fill(buffer.host, slice, row, count, rowBytes);
    driver.upload(buffer.onGpu.address(), buffer.host.asSlice(0, count * rowBytes), stream);
    driver.fill(buffer.foundOnGpu.address(), -1, 2, stream);
    launch
        .of("find_unusable")
        .address(buffer.foundOnGpu.address())
        .address(buffer.onGpu.address())
        .number(code(slice.dtype()))
        .number((long) columns)
        .number(count)
        .number(columns)
        .run(BLOCK, BLOCK, 0);
    driver.download(buffer.found, buffer.foundOnGpu.address(), stream);
  }

  /**
   * Makes elements of a random matrix whose rows have {@code pitch} of them: rows of {@code
   * columns} elements from element {@code first} on.
   *
   * @param to dense {@code [rows][columns]} of their dtype, on the GPU
   */
  static void make(
      RandomElements random,
      Launch launch,
      long to,
      long first,
      long pitch,
      int rows,
      int columns) {
    launch
        .of("random_elements")
        .address(to)
        .number(random.dtype().bytes())
        .number(random.seed())
        .number(random.keep())
        .number(random.base())
        .number(first)
        .number(pitch)
        .number(rows)
        .number(columns)
        .run(Math.ceilDiv(columns, BLOCK), Math.min(rows, MOST_ROWS), 1, BLOCK, 0);
  }

  private static void fill(MemorySegment to, WeightSlice slice, int row, int count, long rowBytes) {
    int element = slice.dtype().bytes();
    long pitch = (long) slice.columns() * element;
    long from = (slice.rowFrom() + row) * pitch + (long) slice.columnFrom() * element;
    if (pitch == rowBytes) {
      MemorySegment.copy(slice.data(), from, to, 0, count * rowBytes);
      return;
    }
    for (int i = 0; i < count; i++) {
      MemorySegment.copy(slice.data(), from + i * pitch, to, i * rowBytes, rowBytes);
    }
  }

  /** How the kernels name a dtype. */
  static int code(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> 0;
      case BFLOAT16 -> 1;
      case FLOAT16 -> 2;
      case INT8, INT32 ->
          throw new IllegalArgumentException(
              "dtype: %s (expected: FLOAT32, BFLOAT16 or FLOAT16)".formatted(dtype));
    };
  }
}
