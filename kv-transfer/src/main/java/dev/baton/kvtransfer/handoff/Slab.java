package dev.baton.kvtransfer.handoff;

import java.lang.foreign.MemorySegment;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/** One piece of a {@link SlabPool}, and who has it since when; changed by the pool only. */
final class Slab {

  private final MemorySegment memory;
  private volatile long sinceNanos;
  private volatile SlabQueue.@Nullable User holder;

  Slab(MemorySegment memory) {
    this.memory = memory;
  }

  MemorySegment first(long bytes) {
    return memory.asSlice(0, bytes);
  }

  /** CRC32C of the first bytes. */
  int crc32c(long bytes) {
    CRC32C crc = new CRC32C();
    crc.update(first(bytes).asByteBuffer());
    return (int) crc.getValue();
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
