package dev.baton.kvtransfer;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.zip.CRC32C;

/**
 * Where the slabs of hand-offs lie: in host memory, or in that of a device, which source, sink,
 * checksum and network reach and nobody else does. {@link #take} is called on the transport's
 * thread, {@link #crc32c} on the threads that pack and unpack.
 */
public interface SlabMemory extends AutoCloseable {

  /** A slab's bytes, 64-byte aligned, until {@link #close}. */
  MemorySegment take(int bytes);

  /** CRC32C of a slab's first bytes. */
  int crc32c(MemorySegment slab);

  /** Nobody uses a slab any more. */
  @Override
  void close();

  /** Where host memory comes from. */
  @FunctionalInterface
  interface Pages {
    /** Memory, aligned to 64 bytes, that lives as long as {@code arena}. */
    MemorySegment allocate(Arena arena, long bytes);
  }

  /** Of the host, freed by the close. */
  static SlabMemory host() {
    return host((arena, bytes) -> arena.allocate(bytes, 64));
  }

  /**
   * As above. Huge pages suit slabs best: to read another process's memory the kernel looks up and
   * pins every page of it.
   *
   * @param pages asked for one arena only
   */
  static SlabMemory host(Pages pages) {
    return new SlabMemory() {
      private final Arena arena = Arena.ofShared();

      @Override
      public MemorySegment take(int bytes) {
        return pages.allocate(arena, bytes);
      }

      @Override
      public int crc32c(MemorySegment slab) {
        CRC32C crc = new CRC32C();
        crc.update(slab.asByteBuffer());
        return (int) crc.getValue();
      }

      @Override
      public void close() {
        arena.close();
      }
    };
  }
}
