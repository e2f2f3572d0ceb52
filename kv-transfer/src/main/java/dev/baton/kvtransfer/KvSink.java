package dev.baton.kvtransfer;

import java.lang.foreign.MemorySegment;

/**
 * Where an import's KV goes. Called on one thread of the transfer, where its factory says, with
 * verified slabs; no other reader sees it yet.
 */
public interface KvSink {

  /** Takes a slab of exactly the range's bytes; the memory is reused after the return. */
  void unpack(SlabRange range, MemorySegment slab);
}
