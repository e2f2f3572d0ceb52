package dev.baton.kvtransfer;

import java.lang.foreign.MemorySegment;

/**
 * Where an export's KV comes from. Called on one thread of the transfer, where its factory says,
 * only for tokens said to be computed.
 */
public interface KvSource {

  /**
   * The first token that there is: what is before it the importer can do without. Asked once, when
   * the export is opened, by its opener.
   */
  default int firstToken() {
    return 0;
  }

  /**
   * Fills a slab of exactly the range's bytes.
   *
   * @throws KvAwayException when the range is elsewhere for now; what was written is worthless. Any
   *     other exception ends the export
   */
  void pack(SlabRange range, MemorySegment slab);
}
