package dev.baton.bench;

import dev.baton.device.DType;
import dev.baton.engine.checkpoint.Mixture;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.checkpoint.TensorNames;
import java.util.List;
import java.util.Map;

/**
 * What a model must compute and read, counted from its shape: a multiplication and an addition are
 * two operations; every weight that any token of a step needs is read once in it, and every stored
 * key and value once per token that sees it.
 *
 * @param layerParameters of the matrices in the layers that each token multiplies
 * @param expertParameters of all experts of all layers
 * @param chosen part of the experts that each token multiplies; 1 = no experts
 * @param headParameters of the output layer: only rows that are sampled from multiply it
 * @param attentionWidth {@code heads * headDim}: four operations per layer and position seen
 * @param weightBytes of one parameter
 * @param kvBytes of one position in one layer, keys and values
 * @param windows by layer: positions that a token sees back, its own counted; 0 = all
 */
record Costs(
    long layerParameters,
    long expertParameters,
    double chosen,
    long headParameters,
    long attentionWidth,
    int weightBytes,
    long kvBytes,
    List<Integer> windows) {

  Costs {
    windows = List.copyOf(windows);
  }

  /** What a measurement costs at least. */
  record Work(double operations, double bytes) {}

  /**
   * @param dtype of weights and KV
   */
  static Costs of(ModelConfig config, DType dtype) {
    long layers = 0;
    long experts = 0;
    for (Map.Entry<String, List<Integer>> each : config.architecture().tensors(config).entrySet()) {
      boolean outside =
          each.getKey().equals(TensorNames.EMBEDDING) || each.getKey().equals(TensorNames.LM_HEAD);
      if (!outside && each.getValue().size() == 2) {
        long parameters = (long) each.getValue().get(0) * each.getValue().get(1);
        if (each.getKey().contains(".experts.")) {
          experts += parameters;
        } else {
          layers += parameters;
        }
      }
    }
    return new Costs(
        layers,
        experts,
        chosen(config),
        (long) config.vocabularySize() * config.hiddenSize(),
        (long) config.heads() * config.headDim(),
        dtype.bytes(),
        2L * config.kvHeads() * config.headDim() * dtype.bytes(),
        config.windows());
  }

  private static double chosen(ModelConfig config) {
    for (int layer = 0; layer < config.layers(); layer++) {
      Mixture mixture = config.mixtureIn(layer);
      if (mixture != null) {
        return (double) mixture.chosen() / mixture.experts();
      }
    }
    return 1;
  }

  /** Parameters that {@code rows} tokens read at least, when they choose experts evenly. */
  private double read(double rows) {
    return layerParameters + expertParameters * (1 - Math.pow(1 - chosen, rows));
  }

  /** Parameters that a token multiplies, the output layer aside. */
  private double multiplied() {
    return layerParameters + expertParameters * chosen;
  }

  /**
   * @param steps in which the workload ran: each reads the weights
   */
  Work of(Workload workload, long steps) {
    return switch (workload) {
      case Workload.Prefill prefill -> prefill(prefill.prompt(), steps);
      case Workload.Decode decode -> decode(decode, steps);
    };
  }

  private Work prefill(int tokens, long steps) {
    double operations =
        2.0 * multiplied() * tokens
            + 2.0 * headParameters
            + 4.0 * attentionWidth * positionsSeen(1, tokens);
    double bytes = (read((double) tokens / steps) * steps + headParameters) * weightBytes;
    return new Work(operations, bytes + (double) tokens * kvBytes * windows.size());
  }

  private Work decode(Workload.Decode decode, long steps) {
    // The first token under the clock sees the prompt, what was generated before, and itself.
    int first = decode.prompt() + Workload.Decode.WARM_UP + 1;
    double seen = decode.batch() * positionsSeen(first, first + (int) steps - 1);
    double tokens = (double) decode.batch() * steps;
    return new Work(
        2.0 * (multiplied() + headParameters) * tokens + 4.0 * attentionWidth * seen,
        (read(decode.batch()) + headParameters) * weightBytes * steps + seen * kvBytes);
  }

  /** Sum over all layers of what tokens with contexts {@code [from, to]} see. */
  private double positionsSeen(int from, int to) {
    double all = 0;
    for (int window : windows) {
      for (int context = from; context <= to; context++) {
        all += window == 0 ? context : Math.min(context, window);
      }
    }
    return all;
  }
}
