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
  /** Llama 2 and 3.x: grouped-query attention, gated SiLU, no biases. */
  LLAMA("LlamaForCausalLM");

  private final String configName;

  Architecture(String configName) {
    this.configName = configName;
  }

  /** As in the list {@code architectures} of config.json. */
  public String configName() {
    return configName;
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
      shapes.put(names.postAttentionNorm(), List.of(hidden));
      shapes.put(names.gate(), List.of(inner, hidden));
      shapes.put(names.up(), List.of(inner, hidden));
      shapes.put(names.down(), List.of(hidden, inner));
    }
    return shapes;
  }

  /**
   * Tensors that some checkpoints carry and nobody reads: rotary tables that old transformers
   * saved, and the output layer of a model whose output layer is the embedding.
   */
  boolean ignores(ModelConfig config, String tensor) {
    return tensor.endsWith(".self_attn.rotary_emb.inv_freq")
        || (config.tiedEmbeddings() && tensor.equals(TensorNames.LM_HEAD));
  }

  /**
   * Holds a checkpoint against {@link #tensors}: throws BAD_MODEL naming the first tensors that are
   * missing, misshaped or left over.
   */
  public void check(ModelConfig config, Checkpoint checkpoint) {
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
