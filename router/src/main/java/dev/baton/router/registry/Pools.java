package dev.baton.router.registry;

import java.util.List;

/**
 * The workers of one model that may be given sessions now.
 *
 * @param model what they serve
 * @param prefill workers of the role prefill alone
 * @param decode workers whose role includes decode
 * @param prefillExpected a prefill pool exists: it has workers, or its last one left without
 *     draining
 */
public record Pools(
    ServedModel model, List<Worker> prefill, List<Worker> decode, boolean prefillExpected) {

  public Pools {
    prefill = List.copyOf(prefill);
    decode = List.copyOf(decode);
  }

  /** A new session of any length could be placed. */
  public boolean ready() {
    return !decode.isEmpty() && (!prefill.isEmpty() || !prefillExpected || aggregates());
  }

  /** Some worker has both roles. */
  private boolean aggregates() {
    return decode.stream().anyMatch(Worker::prefills);
  }
}
