package dev.baton.engine.model;

import dev.baton.device.GatedWeight;
import dev.baton.device.LinearWeight;
import dev.baton.device.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** One rank's weights of one layer's feed-forward part: each expert is cut as a dense part is. */
sealed interface FeedForwardWeights {

  /**
   * @param gated gate and up together
   * @param gateBias {@code [1, intermediate]} of the rank, null in models without
   * @param upBias likewise
   * @param downBias {@code [1, hidden]} likewise
   */
  record Dense(
      GatedWeight gated,
      LinearWeight down,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      @Nullable Tensor downBias)
      implements FeedForwardWeights {}

  /**
   * @param router {@code [experts, hidden]}, whole on every rank
   * @param gated gate and up together, by expert
   * @param downs by expert
   */
  record Experts(LinearWeight router, List<GatedWeight> gated, List<LinearWeight> downs)
      implements FeedForwardWeights {
    public Experts {
      gated = List.copyOf(gated);
      downs = List.copyOf(downs);
    }
  }
}
