package dev.baton.engine.checkpoint;

import static java.util.stream.Collectors.toSet;

import dev.baton.device.DType;
import dev.baton.engine.EngineException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Reads config.json and generation_config.json, in the form of transformers 4 ({@code rope_theta},
 * {@code rope_scaling}, {@code torch_dtype}) and of transformers 5 ({@code rope_parameters}, {@code
 * dtype}). Defaults of absent fields are those of the family's config class in transformers. What
 * would change the model's arithmetic and is not implemented is refused, never ignored.
 */
public final class ConfigReader {

  private static final int MAX_WIDTH = 1 << 24;
  private static final int MAX_LAYERS = 10_000;
  private static final int MAX_HEADS = 1 << 14;

  /** What attention kernels keep buffers for. */
  private static final int MAX_HEAD_DIM = 512;

  static final int MAX_CONTEXT = 1 << 27;

  private static final int MAX_EXPERTS = 1 << 12;

  /** Five times those of the largest models in use. */
  private static final int MAX_EXPERTS_IN_ALL = 1 << 16;

  private static final int DEFAULT_WINDOW = 4096;

  private ConfigReader() {}

  /** Throws BAD_MODEL when the directory has no usable config.json. */
  public static ModelConfig read(Path directory) {
    if (!Files.isDirectory(directory)) {
      throw new EngineException(
          EngineException.Kind.BAD_MODEL,
          "modelDirectory: %s (expected: a directory with config.json and model.safetensors)"
              .formatted(directory));
    }
    Path file = directory.resolve("config.json");
    if (!Files.isRegularFile(file)) {
      throw new EngineException(EngineException.Kind.BAD_MODEL, "%s: missing".formatted(file));
    }
    JsonObject json = JsonObject.read(file);
    Architecture architecture = architecture(json);
    ForeignOptions.refuse(json);
    int vocabulary = json.integer("vocab_size", 1, MAX_WIDTH);
    int hidden = json.integer("hidden_size", 1, MAX_WIDTH);
    int heads = json.integer("num_attention_heads", 1, MAX_HEADS);
    int layers = json.integer("num_hidden_layers", 1, MAX_LAYERS);
    int kvHeads = kvHeads(json, architecture, heads);
    if (heads % kvHeads != 0) {
      throw json.bad("num_key_value_heads", "a divisor of num_attention_heads, " + heads);
    }
    int headDim = headDim(json, architecture, hidden, heads);
    RopeReader rope = new RopeReader(json, architecture);
    Mixture mixture = mixture(json, architecture, layers);
    requireFewTensors(json, layers, mixture);
    return new ModelConfig(
        architecture,
        vocabulary,
        hidden,
        json.integer("intermediate_size", 1, MAX_WIDTH),
        layers,
        heads,
        kvHeads,
        headDim,
        (float) json.positive("rms_norm_eps", architecture.defaults().normEpsilon()),
        rope.theta(),
        rope.scaling(headDim),
        biases(json, architecture),
        windows(json, architecture, layers),
        mixture,
        json.flag("tie_word_embeddings", false),
        rope.contextLength(),
        dtype(json),
        eosTokenIds(directory, json, vocabulary));
  }

  private static Architecture architecture(JsonObject json) {
    List<String> names = json.strings("architectures");
    if (names.size() != 1) {
      throw json.bad("architectures", "a list of one name");
    }
    Architecture architecture = Architecture.named(json.source(), names.getFirst());
    // Two names for what to compute: where they differ, one of them is wrong.
    if (json.has("model_type") && !json.string("model_type").equals(architecture.modelType())) {
      throw json.bad("model_type", architecture.modelType() + ", of " + architecture.configName());
    }
    return architecture;
  }

  private static Biases biases(JsonObject json, Architecture architecture) {
    boolean attention = json.flag("attention_bias", false);
    boolean feedForward = json.flag("mlp_bias", false);
    if (attention
        && (architecture == Architecture.MISTRAL || architecture == Architecture.MIXTRAL)) {
      throw json.bad("attention_bias", "false in " + architecture.configName());
    }
    if (feedForward && architecture != Architecture.LLAMA) {
      throw json.bad("mlp_bias", "false in " + architecture.configName());
    }
    // Qwen 2 has biases on its projections, and none on its output, whatever its config says.
    return architecture == Architecture.QWEN2
        ? new Biases(true, false, false)
        : new Biases(attention, attention, feedForward);
  }

  /** Bounds the memory that the table of a hostile config's tensors takes. */
  private static void requireFewTensors(JsonObject json, int layers, @Nullable Mixture mixture) {
    long experts = mixture == null ? 0 : (long) mixture.layers().size() * mixture.experts();
    if (experts > MAX_EXPERTS_IN_ALL) {
      throw json.bad(
          "num_hidden_layers",
          "at most %d experts in all layers together, not %d"
              .formatted(MAX_EXPERTS_IN_ALL, experts));
    }
  }

  private static int kvHeads(JsonObject json, Architecture architecture, int heads) {
    int absent = architecture.defaults().kvHeads();
    boolean asHeads = absent == 0 || json.isNull("num_key_value_heads");
    return json.integer("num_key_value_heads", 1, MAX_HEADS, asHeads ? heads : absent);
  }

  private static int headDim(JsonObject json, Architecture architecture, int hidden, int heads) {
    int absent = architecture.defaults().headDim();
    if (absent == 0 && !json.has("head_dim") && hidden % heads != 0) {
      throw json.bad(
          "hidden_size", "a multiple of num_attention_heads, %d, or head_dim".formatted(heads));
    }
    int headDim = json.integer("head_dim", 1, MAX_HEAD_DIM, absent == 0 ? hidden / heads : absent);
    if (headDim % 2 != 0 || headDim > MAX_HEAD_DIM) {
      throw new EngineException(
          EngineException.Kind.BAD_MODEL,
          "%s: head_dim: %d (expected: an even number up to %d)"
              .formatted(json.source(), headDim, MAX_HEAD_DIM));
    }
    return headDim;
  }

  private static List<Integer> windows(JsonObject json, Architecture architecture, int layers) {
    int window =
        switch (architecture.window()) {
          case NONE -> 0;
          case EVERY_LAYER -> window(json);
          case EVERY_LAYER_IF_GIVEN -> json.has("sliding_window") ? window(json) : 0;
          case EVERY_LAYER_IF_USED, UPPER_LAYERS_IF_USED ->
              json.flag("use_sliding_window", false) ? window(json) : 0;
        };
    if (architecture.window() != Architecture.Window.UPPER_LAYERS_IF_USED) {
      List<Integer> windows = Collections.nCopies(layers, window);
      if (json.has("layer_types") && !typedWindows(json, layers, window).equals(windows)) {
        throw json.bad(
            "layer_types",
            (window == 0 ? "full" : "sliding") + "_attention in every layer of this family");
      }
      return windows;
    }
    if (json.has("layer_types")) {
      return typedWindows(json, layers, window);
    }
    int whole = json.integer("max_window_layers", 0, Integer.MAX_VALUE, 28);
    return IntStream.range(0, layers).mapToObj(layer -> layer < whole ? 0 : window).toList();
  }

  /** Null is no window, which is not the same as an absent field. */
  private static int window(JsonObject json) {
    return json.isNull("sliding_window")
        ? 0
        : json.integer("sliding_window", 1, MAX_CONTEXT, DEFAULT_WINDOW);
  }

  private static List<Integer> typedWindows(JsonObject json, int layers, int window) {
    List<String> types = json.strings("layer_types");
    if (types.size() != layers) {
      throw json.bad("layer_types", "one for each of %d layers".formatted(layers));
    }
    return types.stream()
        .map(
            type ->
                switch (type) {
                  case "full_attention" -> 0;
                  case "sliding_attention" -> {
                    if (window == 0) {
                      throw json.bad("layer_types", "full_attention each, without sliding_window");
                    }
                    yield window;
                  }
                  default ->
                      throw json.bad("layer_types", "full_attention or sliding_attention each");
                })
        .toList();
  }

  private static @Nullable Mixture mixture(JsonObject json, Architecture architecture, int layers) {
    return switch (architecture) {
      case LLAMA, MISTRAL, QWEN2, QWEN3 -> null;
      case MIXTRAL -> {
        int experts = json.integer("num_local_experts", 1, MAX_EXPERTS);
        Set<Integer> all = IntStream.range(0, layers).boxed().collect(toSet());
        int inner = json.integer("intermediate_size", 1, MAX_WIDTH);
        yield new Mixture(experts, chosen(json, experts), inner, true, all);
      }
      case QWEN3_MOE -> qwenMixture(json, layers);
    };
  }

  private static @Nullable Mixture qwenMixture(JsonObject json, int layers) {
    // Transformers 5 writes the field by its general name.
    String count = json.has("num_experts") ? "num_experts" : "num_local_experts";
    int experts = json.integer(count, 1, MAX_EXPERTS);
    int step = json.integer("decoder_sparse_step", 1, MAX_LAYERS, 1);
    List<Integer> dense = json.integers("mlp_only_layers", 0, MAX_LAYERS);
    Set<Integer> sparse =
        IntStream.range(0, layers)
            .filter(layer -> (layer + 1) % step == 0 && !dense.contains(layer))
            .boxed()
            .collect(toSet());
    return sparse.isEmpty()
        ? null
        : new Mixture(
            experts,
            chosen(json, experts),
            json.integer("moe_intermediate_size", 1, MAX_WIDTH),
            json.flag("norm_topk_prob", false),
            sparse);
  }

  private static int chosen(JsonObject json, int experts) {
    return json.integer("num_experts_per_tok", 1, experts);
  }

  private static @Nullable DType dtype(JsonObject json) {
    String field = json.has("dtype") ? "dtype" : "torch_dtype";
    if (!json.has(field)) {
      return null;
    }
    return switch (json.string(field)) {
      case "float32" -> DType.FLOAT32;
      case "bfloat16" -> DType.BFLOAT16;
      case "float16" -> DType.FLOAT16;
      default -> throw json.bad(field, "one of float32, bfloat16, float16");
    };
  }

  private static List<Integer> eosTokenIds(Path directory, JsonObject config, int vocabulary) {
    Path file = directory.resolve("generation_config.json");
    if (Files.isRegularFile(file)) {
      JsonObject generation = JsonObject.read(file);
      if (generation.has("eos_token_id")) {
        return eosTokenIds(generation, vocabulary);
      }
    }
    return eosTokenIds(config, vocabulary);
  }

  /**
   * Without those that never come; small models often have the ids of the large one's tokenizer.
   */
  private static List<Integer> eosTokenIds(JsonObject json, int vocabulary) {
    return json.integers("eos_token_id", Integer.MIN_VALUE, Integer.MAX_VALUE).stream()
        .filter(id -> id >= 0 && id < vocabulary)
        .toList();
  }
}
