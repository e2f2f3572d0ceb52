package dev.baton.engine.model;

import dev.baton.device.LinearWeight;
import java.util.List;

/** One rank's weights of one layer's feed-forward part: each expert is cut as a dense part is. */
sealed interface FeedForwardWeights {

  record Dense(LinearWeight gate, LinearWeight up, LinearWeight down)
      implements FeedForwardWeights {}

  /**
   * @param router {@code [experts, hidden]}, whole on every rank
   * @param gates by expert
   * @param ups by expert
   * @param downs by expert
   */
  record Experts(
      LinearWeight router,
      List<LinearWeight> gates,
      List<LinearWeight> ups,
      List<LinearWeight> downs)
      implements FeedForwardWeights {}
}
