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
   * The first token that can be packed: where the window begins of the context's end, or of what is
   * computed when the view is opened, if that is later; 0 of a model without a window.
   */
  default int firstToken() {
    return 0;
  }

  /** Positions that a token sees back, its own counted, in every layer; 0 = all, in one of them. */
  default int window() {
    return 0;
  }

  /**
   * Copies computed KV of all ranks, from {@link #firstToken} on, into a slab of {@code
   * region.bytes()} bytes. Of a reserved session it is what was unpacked there, or worthless.
   *
   * @throws KvPreemptedException when the session has lost its blocks
   */
  void pack(SlabRegion region, MemorySegment slab);

  /** Copies a slab into the blocks of all ranks. */
  void unpack(SlabRegion region, MemorySegment slab);
}
