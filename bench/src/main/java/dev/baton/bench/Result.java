package dev.baton.bench;

import java.util.List;
import java.util.function.ToDoubleFunction;

/**
 * All rounds of one workload, ours and, where it has one of the same name, the peer's.
 *
 * @param costs of the model, to tell the limit
 * @param disturbed the same beside busy processes; empty when there were none
 * @param peer the peer's tokens per second, one a round; empty when it did not tell
 * @param disturbedPeer likewise beside busy processes
 */
record Result(
    Workload workload,
    Costs costs,
    Ceilings ceilings,
    List<Measurement> measurements,
    List<Measurement> disturbed,
    List<Double> peer,
    List<Double> disturbedPeer) {

  Result {
    if (measurements.isEmpty()) {
      throw new IllegalArgumentException("measurements: none (expected: at least one)");
    }
    measurements = List.copyOf(measurements);
    disturbed = List.copyOf(disturbed);
    peer = List.copyOf(peer);
    disturbedPeer = List.copyOf(disturbedPeer);
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
    return Samples.median(map(measurements, Measurement::outsideMicrosPerStep));
  }

  double allocatedBytesPerToken() {
    return Samples.median(map(measurements, Measurement::allocatedBytesPerToken));
  }

  boolean hasDisturbed() {
    return !disturbed.isEmpty();
  }

  double disturbedMedian() {
    return Samples.median(disturbedRates());
  }

  /** What busy processes leave of the median. */
  double kept() {
    return disturbedMedian() / median();
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

  boolean hasDisturbedPeer() {
    return hasPeer() && !disturbedPeer.isEmpty();
  }

  double disturbedPeerMedian() {
    return Samples.median(disturbedPeer);
  }

  /** What busy processes leave of the peer's median. */
  double peerKept() {
    return disturbedPeerMedian() / peerMedian();
  }

  List<Double> rates() {
    return map(measurements, Measurement::tokensPerSecond);
  }

  List<Double> disturbedRates() {
    return map(disturbed, Measurement::tokensPerSecond);
  }

  private static List<Double> map(
      List<Measurement> measurements, ToDoubleFunction<Measurement> figure) {
    return measurements.stream().map(each -> figure.applyAsDouble(each)).toList();
  }
}
