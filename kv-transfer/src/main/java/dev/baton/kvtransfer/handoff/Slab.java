package dev.baton.kvtransfer.handoff;

import java.lang.foreign.MemorySegment;
import java.util.zip.CRC32C;

/** One piece of a {@link SlabPool}. */
record Slab(MemorySegment memory) {

  MemorySegment first(long bytes) {
    return memory.asSlice(0, bytes);
  }

  /** CRC32C of the first bytes. */
  int crc32c(long bytes) {
    CRC32C crc = new CRC32C();
    crc.update(first(bytes).asByteBuffer());
    return (int) crc.getValue();
  }
}
