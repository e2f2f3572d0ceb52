package dev.baton.bench;

import java.util.EnumMap;
import java.util.Map;

/**
 * What the machine could do at best, measured in the same run as all else.
 *
 * @param bytesPerSecond memory read by all processors together
 * @param operationsPerSecond of products, by all processors together; {@link #UNKNOWN} where they
 *     could not be measured, which limits nothing
 */
record Ceilings(double bytesPerSecond, Map<Arithmetic, Double> operationsPerSecond) {

  static final double UNKNOWN = Double.POSITIVE_INFINITY;

  static final Ceilings NONE = new Ceilings(0, Map.of());

  Ceilings {
    operationsPerSecond = Map.copyOf(operationsPerSecond);
  }

  /** What sets the limit of a workload. */
  enum Bound {
    MEMORY,
    COMPUTE
  }

  /** Each ceiling the higher of the two measurements: nothing makes a machine faster than it is. */
  Ceilings best(Ceilings other) {
    Map<Arithmetic, Double> operations = new EnumMap<>(Arithmetic.class);
    operations.putAll(operationsPerSecond);
    other.operationsPerSecond.forEach((key, rate) -> operations.merge(key, rate, Math::max));
    return new Ceilings(Math.max(bytesPerSecond, other.bytesPerSecond), operations);
  }

  /** The least time in seconds that the work can take. */
  double seconds(Costs.Work work) {
    return Math.max(memorySeconds(work), computeSeconds(work));
  }

  Bound bound(Costs.Work work) {
    return memorySeconds(work) >= computeSeconds(work) ? Bound.MEMORY : Bound.COMPUTE;
  }

  private double memorySeconds(Costs.Work work) {
    return work.bytes() / bytesPerSecond;
  }

  private double computeSeconds(Costs.Work work) {
    double seconds = 0;
    for (Map.Entry<Arithmetic, Double> each : work.operations().entrySet()) {
      Double rate = operationsPerSecond.get(each.getKey());
      if (rate == null) {
        throw new IllegalStateException(
            "ceilings: %s not measured (expected: one of %s)"
                .formatted(each.getKey(), operationsPerSecond.keySet()));
      }
      seconds += each.getValue() / rate;
    }
    return seconds;
  }
}
