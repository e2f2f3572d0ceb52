package dev.baton.engine.model;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.Routing;
import dev.baton.device.Tensor;
import dev.baton.engine.checkpoint.Mixture;
import org.jspecify.annotations.Nullable;

/**
 * One rank's working memory of a mixture of experts; all float32. A slot is one token at one of its
 * experts.
 *
 * @param scores of the experts {@code [tokens, experts]}
 * @param slots the experts' inputs, then their results {@code [tokens * chosen, hidden]}
 * @param gated {@code [tokens * chosen, inner]} of the rank
 */
record MixtureActivations(Routing routing, Tensor scores, Tensor slots, Tensor gated) {

  /** Null for a model without a mixture. */
  static @Nullable MixtureActivations allocate(Device device, Shard shard, int tokens) {
    Mixture mixture = shard.config().mixture();
    if (mixture == null) {
      return null;
    }
    long slots = (long) tokens * mixture.chosen();
    int inner = shard.expertInner().size();
    return new MixtureActivations(
        device.allocateRouting(tokens, mixture.experts(), mixture.chosen()),
        device.allocate(DType.FLOAT32, tokens, mixture.experts()),
        device.allocate(DType.FLOAT32, slots, shard.config().hiddenSize()),
        device.allocate(DType.FLOAT32, slots, inner));
  }

  /** Bytes of {@link #allocate}, the small tables of the routing not counted. */
  static long bytes(Shard shard, int tokens) {
    Mixture mixture = shard.config().mixture();
    if (mixture == null) {
      return 0;
    }
    long slot = (long) shard.config().hiddenSize() + shard.expertInner().size();
    return tokens * (mixture.experts() + mixture.chosen() * slot) * Float.BYTES;
  }
}
