package dev.baton.bench;

import java.util.List;

/** Figures of several rounds. */
final class Samples {

  private Samples() {}

  /** The middle one, or the mean of the two in the middle. */
  static double median(List<Double> samples) {
    if (samples.isEmpty()) {
      throw new IllegalArgumentException("samples: none (expected: at least one)");
    }
    List<Double> sorted = samples.stream().sorted().toList();
    int middle = sorted.size() / 2;
    return sorted.size() % 2 == 1
        ? sorted.get(middle)
        : (sorted.get(middle - 1) + sorted.get(middle)) / 2;
  }
}
