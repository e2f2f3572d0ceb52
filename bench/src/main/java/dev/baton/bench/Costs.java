package dev.baton.bench;

import dev.baton.device.DType;
import dev.baton.device.KvShape;
import dev.baton.device.WeightFormat;
import dev.baton.engine.Formats;
import dev.baton.engine.checkpoint.Mixture;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.checkpoint.TensorNames;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * What a model must compute and read, counted from its shape: a multiplication and an addition are
 * two operations; every weight that any token of a step needs is read once in it, and every stored
 * key and value once per token that sees it. Scales of quantized weights and KV are read too.
 *
 * @param layers matrices in the layers that each token multiplies
 * @param experts matrices of all experts of all layers
 * @param chosen part of the experts that each token multiplies; 1 = no experts
 * @param head the output layer: only rows that are sampled from multiply it
 * @param attentionWidth {@code heads * headDim}: four operations per layer and position seen
 * @param kvBytes of one position in one layer, keys and values
 * @param windows by layer: positions that a token sees back, its own counted; 0 = all
 * @param linear in what matrices are multiplied
 * @param attention in what queries meet keys, and weights values
 */
record Costs(
    Matrices layers,
    Matrices experts,
    double chosen,
    Matrices head,
    long attentionWidth,
    double kvBytes,
    List<Integer> windows,
    Arithmetic linear,
    Arithmetic attention) {

  Costs {
    windows = List.copyOf(windows);
  }

  /**
   * Some matrices together.
   *
   * @param bytes as packed, scales included and padding not
   */
  record Matrices(long parameters, double bytes) {

    static final Matrices NONE = new Matrices(0, 0);

    Matrices and(int outputs, int inputs, WeightFormat format) {
      return new Matrices(
          parameters + (long) outputs * inputs, bytes + outputs * rowBytes(inputs, format));
    }

    private static double rowBytes(int inputs, WeightFormat format) {
      return switch (format) {
        case FLOAT32 -> 4.0 * inputs;
        case BFLOAT16 -> 2.0 * inputs;
        case INT8 -> inputs + 4.0;
        case INT4 -> 0.5 * inputs + Math.ceilDiv(inputs, WeightFormat.INT4_GROUP) + 4.0;
      };
    }
  }

  /**
   * What a measurement costs at least.
   *
   * @param operations by the arithmetic that they are done in
   */
  record Work(double bytes, Map<Arithmetic, Double> operations) {

    Work {
      operations = Map.copyOf(operations);
    }

    double in(Arithmetic arithmetic) {
      return operations.getOrDefault(arithmetic, 0.0);
    }
  }

  /** Bytes of all matrices that tokens multiply, the output layer among them. */
  double weightBytes() {
    return layers.bytes() + experts.bytes() + head.bytes();
  }

  static Costs of(ModelConfig config, Formats formats) {
    Matrices layers = Matrices.NONE;
    Matrices experts = Matrices.NONE;
    for (Map.Entry<String, List<Integer>> each : config.architecture().tensors(config).entrySet()) {
      boolean outside =
          each.getKey().equals(TensorNames.EMBEDDING) || each.getKey().equals(TensorNames.LM_HEAD);
      if (!outside && each.getValue().size() == 2) {
        int outputs = each.getValue().get(0);
        int inputs = each.getValue().get(1);
        if (each.getKey().contains(".experts.")) {
          experts = experts.and(outputs, inputs, formats.weights());
        } else {
          layers = layers.and(outputs, inputs, formats.weights());
        }
      }
    }
    return new Costs(
        layers,
        experts,
        chosen(config),
        Matrices.NONE.and(config.vocabularySize(), config.hiddenSize(), formats.head()),
        (long) config.heads() * config.headDim(),
        kvBytes(config, formats.kv()),
        config.windows(),
        Arithmetic.of(formats.weights()),
        Arithmetic.of(formats.kv()));
  }

  /** As the cache lays it out: whatever it keeps beside the elements is in a block's size. */
  private static double kvBytes(ModelConfig config, DType kv) {
    int tokens = 64;
    KvShape block = new KvShape(1, 1, tokens, 0, config.kvHeads(), config.headDim(), kv);
    return (double) block.blockBytes() / tokens;
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

  /** Bytes of the layers that {@code rows} tokens read at least, when they choose evenly. */
  private double read(double rows) {
    return layers.bytes() + experts.bytes() * (1 - Math.pow(1 - chosen, rows));
  }

  /** Parameters that a token multiplies, the output layer aside. */
  private double multiplied() {
    return layers.parameters() + experts.parameters() * chosen;
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
    double bytes = read((double) tokens / steps) * steps + head.bytes();
    return work(
        bytes + tokens * kvBytes * windows.size(),
        2.0 * (multiplied() * tokens + head.parameters()),
        positionsSeen(1, tokens));
  }

  private Work decode(Workload.Decode decode, long steps) {
    // The first token under the clock sees the prompt, what was generated before, and itself.
    int first = decode.prompt() + Workload.Decode.WARM_UP + 1;
    double seen = decode.batch() * positionsSeen(first, first + (int) steps - 1);
    double tokens = (double) decode.batch() * steps;
    return work(
        (read(decode.batch()) + head.bytes()) * steps + seen * kvBytes,
        2.0 * (multiplied() + head.parameters()) * tokens,
        seen);
  }

  private Work work(double bytes, double products, double seen) {
    Map<Arithmetic, Double> operations = new EnumMap<>(Arithmetic.class);
    operations.put(linear, products);
    operations.merge(attention, 4.0 * attentionWidth * seen, Double::sum);
    return new Work(bytes, operations);
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
