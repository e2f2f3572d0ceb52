package dev.baton.simulation.cluster;

import dev.baton.proto.worker.v1.HandedOff;
import dev.baton.router.session.SessionObserver;

/** Nobody counts a simulation's sessions. */
final class Unobserved implements SessionObserver {

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
    // not counted
  }

  @Override
  public void ended(String model, Outcome outcome) {
    // not counted
  }
}
