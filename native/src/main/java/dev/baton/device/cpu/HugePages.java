package dev.baton.device.cpu;

import dev.baton.device.OutOfDeviceMemoryException;
import dev.baton.device.host.HostMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Zeroed memory from mappings that are long enough for huge pages: an expert's weight of a
 * megabyte, or the last part of one of three, would lie on small pages if it were a mapping of its
 * own, and reading it would wait for the processor's page tables. What is small shares a mapping
 * and follows what was handed out before it; what is not touched of a mapping takes no memory. Any
 * thread.
 */
final class HugePages implements HostMemory.Pages {

  /** Bytes of a mapping that is shared; what is longer than a quarter of it gets its own. */
  static final long SHARED = 64L << 20;

  private static final long PAGE = 4096;

  /** Two cache lines, which processors fetch together: no two owners write to the same pair. */
  private static final long PAIR_OF_LINES = 128;

  private MemorySegment rest = MemorySegment.NULL;

  @Override
  public synchronized MemorySegment allocate(Arena arena, long bytes) {
    if (bytes > SHARED / 4) {
      return map(arena, bytes);
    }
    long alignment = bytes < PAGE ? PAIR_OF_LINES : PAGE;
    long from = -rest.address() & (alignment - 1);
    if (from + bytes > rest.byteSize()) {
      rest = map(arena, SHARED);
      from = 0;
    }
    MemorySegment found = rest.asSlice(from, bytes);
    rest = rest.asSlice(from + bytes);
    return found;
  }

  @SuppressWarnings("restricted") // gives the mapped pages their size and their lifetime
  private static MemorySegment map(Arena arena, long bytes) {
    MemorySegment start = CpuKernels.map(bytes);
    if (start.equals(MemorySegment.NULL)) {
      throw new OutOfDeviceMemoryException(
          "memory: the system refuses %d bytes (expected: address space for them)"
              .formatted(bytes));
    }
    return start.reinterpret(bytes, arena, CpuKernels::unmap);
  }
}
