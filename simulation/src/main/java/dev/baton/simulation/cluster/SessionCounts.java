package dev.baton.simulation.cluster;

import dev.baton.proto.worker.v1.HandedOff;
import dev.baton.router.session.SessionObserver;

/** Counts what only the router knows to have come off. */
final class SessionCounts implements SessionObserver {

  private long moves;
  private long prefixes;

  /** Sessions that went to another decode worker with their KV. */
  long moves() {
    return moves;
  }

  /** Prefixes that came from another worker. */
  long prefixes() {
    return prefixes;
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
  public void moved(String model, HandedOff handOff) {
    moves++;
  }

  @Override
  public void prefixFetched(String model, int tokens, long nanos) {
    prefixes += tokens > 0 ? 1 : 0;
  }

  @Override
  public void ended(String model, Outcome outcome) {
    // not counted
  }
}
