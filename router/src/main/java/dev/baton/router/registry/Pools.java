package dev.baton.router.registry;

import java.util.List;

/**
 * The workers of one model that may be given sessions now.
 *
 * @param model what they serve
 * @param prefill workers of the role prefill alone
 * @param decode workers whose role includes decode
 * @param expectsDecode a decode worker is silent, or was lost a few seconds ago, that may be heard
 *     again any moment: a busy machine holds reports back, too, and a dead worker is started again
 */
public record Pools(
    ServedModel model, List<Worker> prefill, List<Worker> decode, boolean expectsDecode) {

  public Pools {
    prefill = List.copyOf(prefill);
    decode = List.copyOf(decode);
  }

  /** A new session could be placed: decode workers stand in for an empty prefill pool. */
  public boolean ready() {
    return !decode.isEmpty();
  }
}
