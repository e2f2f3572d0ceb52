package dev.baton.kvtransfer.ucx;

import dev.baton.kvtransfer.wire.MessageCodec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * Off-heap places for the headers of sends under way: UCX reads a header until its send has
 * completed. As many as were ever in flight at once; progress thread only.
 */
final class HeaderSlots implements AutoCloseable {
  private final Arena arena = Arena.ofShared();
  private final Deque<MemorySegment> idle = new ArrayDeque<>();

  MemorySegment fill(byte[] header) {
    MemorySegment slot = idle.isEmpty() ? arena.allocate(MessageCodec.MAX_BYTES, 64) : idle.pop();
    MemorySegment.copy(header, 0, slot, ValueLayout.JAVA_BYTE, 0, header.length);
    return slot;
  }

  void release(MemorySegment slot) {
    idle.push(slot);
  }

  @Override
  public void close() {
    arena.close();
  }
}
