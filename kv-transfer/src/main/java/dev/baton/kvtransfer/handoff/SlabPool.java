package dev.baton.kvtransfer.handoff;

import java.lang.foreign.Arena;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A bounded number of off-heap slabs of one size, 64-byte aligned, made when first needed and used
 * again last in, first out, while they are warm. Owned by the service; transport thread only, but
 * for {@link #bytesInUse} and {@link #close}.
 */
final class SlabPool implements AutoCloseable {
  private static final int ALIGNMENT = 64;

  private final int slabBytes;
  private final int capacity;
  private final Arena arena = Arena.ofShared();
  private final Deque<Slab> idle = new ArrayDeque<>();
  private final AtomicInteger inUse = new AtomicInteger();

  SlabPool(int slabBytes, int capacity) {
    this.slabBytes = slabBytes;
    this.capacity = capacity;
  }

  int free() {
    return capacity - inUse.get();
  }

  /** Of one slab. */
  long slabBytes() {
    return slabBytes;
  }

  /** Of all slabs, those not yet made included. */
  long bytes() {
    return (long) capacity * slabBytes;
  }

  long bytesInUse() {
    return (long) inUse.get() * slabBytes;
  }

  /** One of the {@link #free} slabs; its content is whatever was in it. */
  Slab take() {
    if (free() == 0) {
      throw new IllegalStateException("free slabs: 0 of %d (expected: > 0)".formatted(capacity));
    }
    Slab slab = idle.isEmpty() ? new Slab(arena.allocate(slabBytes, ALIGNMENT)) : idle.pop();
    inUse.incrementAndGet();
    return slab;
  }

  void release(Slab slab) {
    if (inUse.getAndDecrement() == 0) {
      inUse.incrementAndGet();
      throw new IllegalStateException("slabs in use: 0 (expected: > 0)");
    }
    idle.push(slab);
  }

  /** Frees the memory; nobody may use a slab any more. */
  @Override
  public void close() {
    arena.close();
  }
}
