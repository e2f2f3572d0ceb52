package dev.baton.engine;

/**
 * The account of all blocks at one instant; the five states add up to the capacity, always.
 *
 * @param swapped blocks of KV in host memory, outside the capacity: those of preempted sessions
 *     until they are back, and copies ahead of a preemption
 */
public record LedgerSnapshot(
    int owned, int reserved, int cached, int quarantined, int free, int capacity, int swapped) {

  public LedgerSnapshot {
    if (owned + reserved + cached + quarantined + free != capacity) {
      throw new IllegalStateException(
          "ledger: owned %d + reserved %d + cached %d + quarantined %d + free %d (expected: capacity %d)"
              .formatted(owned, reserved, cached, quarantined, free, capacity));
    }
  }

  /** Nothing belongs to any session. */
  public boolean closed() {
    return owned == 0 && reserved == 0 && quarantined == 0 && swapped == 0;
  }
}
