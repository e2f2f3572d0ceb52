package dev.baton.simulation;

import dev.baton.simulation.cluster.Reached;
import java.util.Optional;

/**
 * How a run went.
 *
 * @param nanos of virtual time that it took
 * @param violation the first promise that was broken
 */
public record Verdict(
    long seed, long events, long nanos, Reached reached, Optional<String> violation) {

  public boolean holds() {
    return violation.isEmpty();
  }
}
