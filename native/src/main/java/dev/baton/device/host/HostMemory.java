package dev.baton.device.host;

import dev.baton.device.OutOfDeviceMemoryException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.LongSupplier;

/**
 * The memory of one host device: zeroed, aligned to 64 bytes, freed all at once by {@link #close}.
 *
 * <p>Memory that would not fit the machine is refused here, because later the kernel would kill the
 * process instead. Pages count as free until they are first touched, so what is free is the lesser
 * of what the machine says now and what it said at the start less all that was handed out since.
 */
public final class HostMemory implements AutoCloseable {

  /** Left to the rest of the process and machine. */
  private static final long MARGIN = 128L << 20;

  /** Below this an allocation does not ask the machine again. */
  private static final long SMALL = 1L << 20;

  /** Where pages come from. */
  @FunctionalInterface
  public interface Pages {
    /** Zeroed memory, aligned to 64 bytes, that lives as long as {@code arena}. */
    MemorySegment allocate(Arena arena, long bytes);
  }

  private final Arena arena = Arena.ofShared();
  private final Pages pages;
  private final LongSupplier available;
  private final long atStart;
  private long handedOut;

  public HostMemory(Pages pages) {
    this(pages, MachineMemory::available);
  }

  HostMemory(Pages pages, LongSupplier available) {
    this.pages = pages;
    this.available = available;
    atStart = available.getAsLong();
  }

  public MemorySegment allocate(long bytes, String what) {
    if (bytes < 0) {
      throw new IllegalArgumentException("%s: %d bytes (expected: >= 0)".formatted(what, bytes));
    }
    synchronized (this) {
      long free = atStart - handedOut;
      if (bytes >= SMALL) {
        free = Math.min(free, available.getAsLong());
      }
      if (bytes > free - MARGIN) {
        throw new OutOfDeviceMemoryException(
            "%s: %s (expected: at most %s, the free memory less %s kept back; %s handed out so far; use a smaller KV cache, bfloat16, or a larger machine)"
                .formatted(
                    what,
                    MachineMemory.format(bytes),
                    MachineMemory.format(Math.max(0, free - MARGIN)),
                    MachineMemory.format(MARGIN),
                    MachineMemory.format(handedOut)));
      }
      handedOut += bytes;
    }
    return bytes == 0 ? MemorySegment.NULL.asSlice(0, 0) : pages.allocate(arena, bytes);
  }

  @Override
  public void close() {
    arena.close();
  }
}
