package dev.baton.simulation.cluster;

import dev.baton.proto.worker.v1.HandedOff;
import dev.baton.router.session.SessionObserver;

/** Counts the prefixes that came from another worker; nothing else of a simulation's sessions. */
final class FetchedPrefixes implements SessionObserver {

  private long count;

  long count() {
    return count;
  }

  @Override
  public void started(String model) {
    // not counted
  }

  @Override
  public void token(String model, boolean first, long nanos) {
    // not counted
  }

  @Override
  public void handedOff(String model, HandedOff handOff) {
    // not counted
  }

  @Override
  public void prefixFetched(String model, int tokens, long nanos) {
    count += tokens > 0 ? 1 : 0;
  }

  @Override
  public void ended(String model, Outcome outcome) {
    // not counted
  }
}
