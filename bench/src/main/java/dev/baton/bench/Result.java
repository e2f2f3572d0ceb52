package dev.baton.bench;

import java.util.List;
import java.util.function.ToDoubleFunction;

/**
 * All rounds of one workload, ours and, where it has one of the same name, the peer's.
 *
 * @param costs of the model, to tell the limit
 * @param peer the peer's tokens per second, one a round; empty when it did not tell
 */
record Result(
    Workload workload,
    Costs costs,
    Ceilings ceilings,
    List<Measurement> measurements,
    List<Double> peer) {

  Result {
    if (measurements.isEmpty()) {
      throw new IllegalArgumentException("measurements: none (expected: at least one)");
    }
    measurements = List.copyOf(measurements);
    peer = List.copyOf(peer);
  }

  double median() {
    return Samples.median(rates());
  }

  double least() {
    return rates().stream().mapToDouble(Double::doubleValue).min().orElseThrow();
  }

  double most() {
    return rates().stream().mapToDouble(Double::doubleValue).max().orElseThrow();
  }

  /** Tokens per second that the ceilings allow. */
  double limit() {
    Measurement first = measurements.getFirst();
    return first.tokens() / ceilings.seconds(costs.of(workload, first.steps()));
  }

  Ceilings.Bound bound() {
    return ceilings.bound(costs.of(workload, measurements.getFirst().steps()));
  }

  /** The median as a part of the limit. */
  double share() {
    return median() / limit();
  }

  double outsideMicrosPerStep() {
    return Samples.median(map(Measurement::outsideMicrosPerStep));
  }

  boolean hasPeer() {
    return !peer.isEmpty();
  }

  double peerMedian() {
    return Samples.median(peer);
  }

  /** How many times the peer's rate ours is. */
  double ratio() {
    return median() / peerMedian();
  }

  List<Double> rates() {
    return map(Measurement::tokensPerSecond);
  }

  private List<Double> map(ToDoubleFunction<Measurement> figure) {
    return measurements.stream().map(each -> figure.applyAsDouble(each)).toList();
  }
}
