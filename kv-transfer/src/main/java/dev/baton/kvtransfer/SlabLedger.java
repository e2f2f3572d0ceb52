package dev.baton.kvtransfer;

/**
 * The account of one pool of slabs at one instant; the states add up to the capacity, always.
 *
 * @param owned slabs that a hand-off uses, or that the network still uses for one that has ended
 * @param quarantined slabs that a peer which stood still never gave back, and that are not used
 *     again
 * @param free slabs, those not made yet included
 * @param slabBytes of one
 */
public record SlabLedger(int owned, int quarantined, int free, int capacity, long slabBytes) {

  public SlabLedger {
    if (owned + quarantined + free != capacity) {
      throw new IllegalStateException(
          "slabs: owned %d + quarantined %d + free %d (expected: capacity %d)"
              .formatted(owned, quarantined, free, capacity));
    }
  }

  /** Nothing is out. */
  public boolean closed() {
    return free == capacity;
  }

  /** Bytes of slabs that are not free. */
  public long bytesInUse() {
    return (capacity - free) * slabBytes;
  }
}
