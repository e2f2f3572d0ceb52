package dev.baton.kvtransfer;

import java.lang.foreign.MemorySegment;

/**
 * Where an export's KV comes from. Called on one thread of the transfer, where its factory says,
 * only for tokens said to be computed.
 */
public interface KvSource {

  /** Fills a slab of exactly the range's bytes. */
  void pack(SlabRange range, MemorySegment slab);
}
