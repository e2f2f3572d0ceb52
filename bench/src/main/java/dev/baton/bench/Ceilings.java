package dev.baton.bench;

import dev.baton.device.DType;

/**
 * What the machine could do at best, measured in the same run as all else.
 *
 * @param bytesPerSecond memory read by all processors together
 * @param operationsPerSecond of products in {@code dtype}, by all processors together
 */
record Ceilings(DType dtype, double bytesPerSecond, double operationsPerSecond) {

  /** What sets the limit of a workload. */
  enum Bound {
    MEMORY,
    COMPUTE
  }

  /** Each ceiling the higher of the two measurements: nothing makes a machine faster than it is. */
  Ceilings best(Ceilings other) {
    return new Ceilings(
        dtype,
        Math.max(bytesPerSecond, other.bytesPerSecond),
        Math.max(operationsPerSecond, other.operationsPerSecond));
  }

  /** The least time in seconds that the work can take. */
  double seconds(Costs.Work work) {
    return Math.max(work.bytes() / bytesPerSecond, work.operations() / operationsPerSecond);
  }

  Bound bound(Costs.Work work) {
    boolean memory = work.bytes() / bytesPerSecond >= work.operations() / operationsPerSecond;
    return memory ? Bound.MEMORY : Bound.COMPUTE;
  }
}
