package dev.baton.bench;

/**
 * One timed run of a workload.
 *
 * @param tokens prompt tokens computed, or tokens generated
 * @param nanos from the first step's start to the last one's end
 * @param forwardNanos of these, inside the forward pass on all ranks
 * @param allocatedBytes of Java objects that the step thread has made
 */
record Measurement(long tokens, long steps, long nanos, long forwardNanos, long allocatedBytes) {

  Measurement {
    if (tokens < 1 || steps < 1 || nanos < 1 || forwardNanos < 0 || forwardNanos > nanos) {
      throw new IllegalArgumentException(
          "measurement: %d tokens, %d steps, %d ns, %d ns inside (expected: some of each, no more inside than in all)"
              .formatted(tokens, steps, nanos, forwardNanos));
    }
  }

  double tokensPerSecond() {
    return tokens * 1e9 / nanos;
  }

  double allocatedBytesPerToken() {
    return (double) allocatedBytes / tokens;
  }

  /** What scheduler, sampler and listeners take in a step. */
  double outsideMicrosPerStep() {
    return (nanos - forwardNanos) / 1e3 / steps;
  }
}
