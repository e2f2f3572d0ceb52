package dev.baton.engine;

import dev.baton.device.SlabRegion;
import java.lang.foreign.MemorySegment;

/**
 * The blocks of one session, for hand-off. Valid until {@link Engine#release} of the session; the
 * caller makes sure that no pack or unpack is running then. {@code pack} and {@code unpack} may be
 * called from any thread, also during steps.
 */
public interface KvView {

  /** Token positions that the blocks can hold. */
  int tokens();

  /**
   * Leading tokens whose KV is there and can be packed. Of a reserved session: known from there.
   */
  int computed();

  /**
   * Copies computed KV of all ranks into a slab of {@code region.bytes()} bytes. Of a model whose
   * layers all have a window, only the window of the context's end can be asked for. Of a reserved
   * session it is what was unpacked there, or worthless.
   */
  void pack(SlabRegion region, MemorySegment slab);

  /** Copies a slab into the blocks of all ranks. */
  void unpack(SlabRegion region, MemorySegment slab);
}
