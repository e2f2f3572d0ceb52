package dev.baton.simulation.cluster;

import dev.baton.engine.EngineStatus;
import dev.baton.kvtransfer.TransferTotals;

/**
 * What a run has come to do: a simulation that finds nothing wrong must show that it went where
 * something could be. Counts of workers that died are counted at their death.
 *
 * @param handoffs completed
 * @param aborted hand-offs
 * @param corruptSlabs refused
 * @param preemptions of sessions
 * @param swaps of them that copied KV away
 * @param cachedTokens answered from the prefix cache
 * @param laterAttempts calls of an epoch above 1
 * @param resumed of them that went on after tokens
 * @param moves of sessions with their KV to another decode worker
 * @param prefixes that came from another worker's cache
 */
public record Reached(
    long handoffs,
    long aborted,
    long corruptSlabs,
    long preemptions,
    long swaps,
    long cachedTokens,
    long laterAttempts,
    long resumed,
    long moves,
    long prefixes) {

  public static final Reached NOTHING = new Reached(0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

  static Reached of(
      EngineStatus engine, TransferTotals transfer, long laterAttempts, long resumed) {
    return new Reached(
        transfer.imported(),
        transfer.aborted(),
        transfer.corruptSlabs(),
        engine.preemptions(),
        engine.swaps(),
        engine.cachedTokens(),
        laterAttempts,
        resumed,
        0,
        0);
  }

  static Reached of(SessionCounts router) {
    return new Reached(0, 0, 0, 0, 0, 0, 0, 0, router.moves(), router.prefixes());
  }

  /** Both together. */
  public Reached plus(Reached other) {
    return new Reached(
        handoffs + other.handoffs,
        aborted + other.aborted,
        corruptSlabs + other.corruptSlabs,
        preemptions + other.preemptions,
        swaps + other.swaps,
        cachedTokens + other.cachedTokens,
        laterAttempts + other.laterAttempts,
        resumed + other.resumed,
        moves + other.moves,
        prefixes + other.prefixes);
  }
}
