package dev.baton.router.session;

import dev.baton.proto.worker.v1.SampledToken;

/**
 * Adds up what a session's workers have drawn for it: each tells its own sum with every token, and
 * the last that came of each counts. What a worker drew after its last token that arrived is
 * nobody's. Written in the session's serial context; read by any thread.
 */
final class EnergyTally {

  private double before;
  private double current;
  private int epoch;
  private boolean ofPrefill;
  private volatile double joules = -1;
  private boolean unknown;

  /**
   * A token was delivered.
   *
   * @param ofEpoch the attempt that it came from
   * @param fromPrefill from its prefill worker
   */
  void add(int ofEpoch, boolean fromPrefill, SampledToken token) {
    if (!token.hasJoules()) {
      unknown = true;
      joules = -1;
    }
    if (unknown) {
      return;
    }
    if (ofEpoch != epoch || fromPrefill != ofPrefill) {
      before += current;
      epoch = ofEpoch;
      ofPrefill = fromPrefill;
    }
    current = token.getJoules();
    joules = before + current;
  }

  /** Of all workers so far; negative = not known, or not by all of them. */
  double joules() {
    return joules;
  }
}
