package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.SlabMemory;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** One piece of a {@link SlabPool}, and who has it since when; changed by the pool only. */
final class Slab {

  private final MemorySegment memory;
  private final SlabMemory where;
  private volatile long sinceNanos;
  private volatile SlabQueue.@Nullable User holder;

  Slab(MemorySegment memory, SlabMemory where) {
    this.memory = memory;
    this.where = where;
  }

  MemorySegment first(long bytes) {
    return memory.asSlice(0, bytes);
  }

  /** CRC32C of the first bytes. */
  int crc32c(long bytes) {
    return where.crc32c(first(bytes));
  }

  /** Null while it is free. Any thread. */
  SlabQueue.@Nullable User holder() {
    return holder;
  }

  /** Of the latest holder. Any thread. */
  long sinceNanos() {
    return sinceNanos;
  }

  void give(SlabQueue.User user, long nanos) {
    sinceNanos = nanos;
    holder = user;
  }

  void takeBack() {
    holder = null;
  }
}
