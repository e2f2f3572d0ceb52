package dev.baton.engine.checkpoint;

import static java.util.stream.Collectors.joining;

import dev.baton.engine.EngineException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * The model families that the forward pass knows, by their name in config.json. What sets families
 * apart is data here and in {@link ModelConfig}: which tensors a layer has, under which names.
 */
public enum Architecture {
  /** Llama 2 and 3.x: grouped-query attention, gated SiLU; biases where its config says so. */
  LLAMA("LlamaForCausalLM", "llama", new Defaults(0, 0, 2048, 1e-6, 1e4), Window.NONE),
  /** Mistral 7B and its kin: Llama with a sliding window, until version 0.2 took it away. */
  MISTRAL(
      "MistralForCausalLM", "mistral", new Defaults(8, 0, 131_072, 1e-6, 1e4), Window.EVERY_LAYER),
  /** Qwen 2 and 2.5: biases on query, key and value; a window on the upper layers at most. */
  QWEN2(
      "Qwen2ForCausalLM",
      "qwen2",
      new Defaults(32, 0, 32_768, 1e-6, 1e4),
      Window.UPPER_LAYERS_IF_USED),
  /** Qwen 3: a norm over each query and key head; biases in attention where its config says so. */
  QWEN3(
      "Qwen3ForCausalLM",
      "qwen3",
      new Defaults(32, 128, 32_768, 1e-6, 1e4),
      Window.UPPER_LAYERS_IF_USED),
  /** Mixtral: Mistral with a mixture of experts in every layer. */
  MIXTRAL(
      "MixtralForCausalLM",
      "mixtral",
      new Defaults(8, 0, 131_072, 1e-5, 1e6),
      Window.EVERY_LAYER_IF_GIVEN),
  /** Qwen 3 with a mixture of many small experts in most layers. */
  QWEN3_MOE(
      "Qwen3MoeForCausalLM",
      "qwen3_moe",
      new Defaults(4, 0, 32_768, 1e-6, 1e4),
      Window.EVERY_LAYER_IF_USED);

  private final String configName;
  private final String modelType;
  private final Defaults defaults;
  private final Window window;

  Architecture(String configName, String modelType, Defaults defaults, Window window) {
    this.configName = configName;
    this.modelType = modelType;
    this.defaults = defaults;
    this.window = window;
  }

  /**
   * What a config.json without the field means, as in the family's config class of transformers.
   *
   * @param kvHeads 0 = as many as query heads
   * @param headDim 0 = hidden size by heads
   * @param normEpsilon of every norm
   * @param ropeTheta base of the rotary frequencies
   */
  record Defaults(
      int kvHeads, int headDim, int contextLength, double normEpsilon, double ropeTheta) {}

  /** Which layers have the sliding window that {@code sliding_window} of config.json gives. */
  enum Window {
    NONE,
    EVERY_LAYER,
    /** Absent is none, not the default width. */
    EVERY_LAYER_IF_GIVEN,
    /** Only with {@code use_sliding_window}. */
    EVERY_LAYER_IF_USED,
    /** Only with {@code use_sliding_window}, from layer {@code max_window_layers} upwards. */
    UPPER_LAYERS_IF_USED
  }

  Defaults defaults() {
    return defaults;
  }

  /** Each query and key head is normed before its rotation. */
  public boolean headNorms() {
    return this == QWEN3 || this == QWEN3_MOE;
  }

  Window window() {
    return window;
  }

  /** As in the list {@code architectures} of config.json. */
  public String configName() {
    return configName;
  }

  /** As in {@code model_type} of config.json, by which transformers finds the family. */
  String modelType() {
    return modelType;
  }

  /** Finds a family by the name in config.json; BAD_MODEL when there is none. */
  static Architecture named(String source, String configName) {
    return Stream.of(values())
        .filter(each -> each.configName.equals(configName))
        .findFirst()
        .orElseThrow(
            () ->
                new EngineException(
                    EngineException.Kind.BAD_MODEL,
                    "%s: architectures: %s (expected: one of %s)"
                        .formatted(
                            source,
                            configName,
                            Stream.of(values())
                                .map(Architecture::configName)
                                .collect(joining(", ")))));
  }

  /** Every tensor that a checkpoint of this family must have, with its shape, by name. */
  public Map<String, List<Integer>> tensors(ModelConfig config) {
    Map<String, List<Integer>> shapes = new TreeMap<>();
    int hidden = config.hiddenSize();
    int queries = config.heads() * config.headDim();
    int keys = config.kvHeads() * config.headDim();
    int inner = config.intermediateSize();
    shapes.put(TensorNames.EMBEDDING, List.of(config.vocabularySize(), hidden));
    shapes.put(TensorNames.FINAL_NORM, List.of(hidden));
    if (!config.tiedEmbeddings()) {
      shapes.put(TensorNames.LM_HEAD, List.of(config.vocabularySize(), hidden));
    }
    for (int layer = 0; layer < config.layers(); layer++) {
      TensorNames names = new TensorNames(layer);
      shapes.put(names.inputNorm(), List.of(hidden));
      shapes.put(names.query(), List.of(queries, hidden));
      shapes.put(names.key(), List.of(keys, hidden));
      shapes.put(names.value(), List.of(keys, hidden));
      shapes.put(names.output(), List.of(hidden, queries));
      Biases biases = config.biases();
      if (biases.projections()) {
        shapes.put(names.queryBias(), List.of(queries));
        shapes.put(names.keyBias(), List.of(keys));
        shapes.put(names.valueBias(), List.of(keys));
      }
      if (biases.attentionOutput()) {
        shapes.put(names.outputBias(), List.of(hidden));
      }
      if (headNorms()) {
        shapes.put(names.queryNorm(), List.of(config.headDim()));
        shapes.put(names.keyNorm(), List.of(config.headDim()));
      }
      shapes.put(names.postAttentionNorm(), List.of(hidden));
      Mixture mixture = config.mixtureIn(layer);
      if (mixture == null) {
        shapes.put(names.gate(), List.of(inner, hidden));
        shapes.put(names.up(), List.of(inner, hidden));
        shapes.put(names.down(), List.of(hidden, inner));
        if (biases.feedForward()) {
          shapes.put(names.gateBias(), List.of(inner));
          shapes.put(names.upBias(), List.of(inner));
          shapes.put(names.downBias(), List.of(hidden));
        }
      } else {
        putExperts(shapes, layer, mixture, hidden);
      }
    }
    return shapes;
  }

  private void putExperts(
      Map<String, List<Integer>> shapes, int layer, Mixture mixture, int hidden) {
    shapes.put(new TensorNames(layer).router(this), List.of(mixture.experts(), hidden));
    for (int expert = 0; expert < mixture.experts(); expert++) {
      TensorNames.Expert names = new TensorNames(layer).expert(this, expert);
      shapes.put(names.gate(), List.of(mixture.innerSize(), hidden));
      shapes.put(names.up(), List.of(mixture.innerSize(), hidden));
      shapes.put(names.down(), List.of(hidden, mixture.innerSize()));
    }
  }

  /**
   * Tensors that some checkpoints carry and nobody reads: rotary tables that old transformers
   * saved, and the output layer of a model whose output layer is the embedding.
   */
  boolean ignores(ModelConfig config, String tensor) {
    return tensor.endsWith(".rotary_emb.inv_freq")
        || (config.tiedEmbeddings() && tensor.equals(TensorNames.LM_HEAD));
  }

  /**
   * Holds a checkpoint against {@link #tensors}: throws BAD_MODEL naming the first tensors that are
   * missing, misshaped or left over.
   */
  void check(ModelConfig config, Checkpoint checkpoint) {
    Map<String, List<Integer>> expected = tensors(config);
    List<String> problems = new ArrayList<>();
    expected.forEach(
        (name, shape) -> {
          CheckpointTensor tensor = checkpoint.find(name);
          if (tensor == null) {
            problems.add("%s: missing (expected: shape %s)".formatted(name, shape));
          } else if (!tensor.shape().equals(shape)) {
            problems.add("%s: shape %s (expected: %s)".formatted(name, tensor.shape(), shape));
          }
        });
    for (String name : checkpoint.names()) {
      if (!expected.containsKey(name) && !ignores(config, name)) {
        problems.add("%s: surplus (expected: no such tensor in %s)".formatted(name, configName));
      }
    }
    if (!problems.isEmpty()) {
      int shown = Math.min(problems.size(), 3);
      String more =
          problems.size() > shown ? "; and %d more".formatted(problems.size() - shown) : "";
      throw new EngineException(
          EngineException.Kind.BAD_MODEL,
          checkpoint.directory() + ": " + String.join("; ", problems.subList(0, shown)) + more);
    }
  }
}
