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

  private static final int MAX_CONTEXT = 1 << 27;

  private static final int MAX_EXPERTS = 1 << 12;

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
    refuseUnsupported(json);
    int vocabulary = json.integer("vocab_size", 1, MAX_WIDTH);
    int hidden = json.integer("hidden_size", 1, MAX_WIDTH);
    int heads = json.integer("num_attention_heads", 1, MAX_HEADS);
    int layers = json.integer("num_hidden_layers", 1, MAX_LAYERS);
    int kvHeads = kvHeads(json, architecture, heads);
    if (heads % kvHeads != 0) {
      throw json.bad("num_key_value_heads", "a divisor of num_attention_heads, " + heads);
    }
    return new ModelConfig(
        architecture,
        vocabulary,
        hidden,
        json.integer("intermediate_size", 1, MAX_WIDTH),
        layers,
        heads,
        kvHeads,
        headDim(json, architecture, hidden, heads),
        (float) json.positive("rms_norm_eps", architecture.defaults().normEpsilon()),
        ropeTheta(json, architecture),
        ropeScaling(json),
        windows(json, architecture, layers),
        mixture(json, architecture, layers),
        json.flag("tie_word_embeddings", false),
        json.integer(
            "max_position_embeddings", 1, MAX_CONTEXT, architecture.defaults().contextLength()),
        dtype(json),
        eosTokenIds(directory, json, vocabulary));
  }

  private static Architecture architecture(JsonObject json) {
    List<String> names = json.strings("architectures");
    if (names.size() != 1) {
      throw json.bad("architectures", "a list of one name");
    }
    return Architecture.named(json.source(), names.getFirst());
  }

  private static void refuseUnsupported(JsonObject json) {
    for (String bias : List.of("attention_bias", "mlp_bias")) {
      if (json.flag(bias, false)) {
        throw json.bad(bias, "false");
      }
    }
    if (json.has("hidden_act") && !json.string("hidden_act").equals("silu")) {
      throw json.bad("hidden_act", "silu");
    }
    requireWholeRotation(json);
    if (json.has("rope_parameters")) {
      JsonObject rope = json.object("rope_parameters");
      requireWholeRotation(rope);
      for (String layers : List.of("full_attention", "sliding_attention")) {
        if (rope.has(layers)) {
          throw rope.bad(layers, "one rotation for all layers");
        }
      }
    }
    if (json.has("quantization_config")) {
      throw json.bad("quantization_config", "none: weights in F32, F16 or BF16");
    }
  }

  private static void requireWholeRotation(JsonObject json) {
    if (json.positive("partial_rotary_factor", 1) != 1) {
      throw json.bad("partial_rotary_factor", "1: every dimension of a head is rotated");
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
    return switch (architecture.window()) {
      case NONE -> Collections.nCopies(layers, 0);
      case EVERY_LAYER -> Collections.nCopies(layers, window(json));
      case EVERY_LAYER_IF_USED ->
          Collections.nCopies(layers, json.flag("use_sliding_window", false) ? window(json) : 0);
      case UPPER_LAYERS_IF_USED -> {
        int window = json.flag("use_sliding_window", false) ? window(json) : 0;
        if (json.has("layer_types")) {
          yield typedWindows(json, layers, window);
        }
        int whole = json.integer("max_window_layers", 0, Integer.MAX_VALUE, 28);
        yield IntStream.range(0, layers).mapToObj(layer -> layer < whole ? 0 : window).toList();
      }
    };
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
                  case "sliding_attention" -> window;
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

  private static double ropeTheta(JsonObject json, Architecture architecture) {
    if (json.has("rope_parameters") && json.object("rope_parameters").has("rope_theta")) {
      return json.object("rope_parameters").positive("rope_theta");
    }
    return json.positive("rope_theta", architecture.defaults().ropeTheta());
  }

  private static RopeScaling ropeScaling(JsonObject json) {
    if (json.has("rope_parameters")) {
      return ropeScalingIn(json.object("rope_parameters"));
    }
    return json.has("rope_scaling")
        ? ropeScalingIn(json.object("rope_scaling"))
        : new RopeScaling.None();
  }

  private static RopeScaling ropeScalingIn(JsonObject rope) {
    // Before rope_type the field was called type.
    String field = !rope.has("rope_type") && rope.has("type") ? "type" : "rope_type";
    String type = rope.has(field) ? rope.string(field) : "default";
    return switch (type) {
      case "default" -> new RopeScaling.None();
      case "linear" -> new RopeScaling.Linear(rope.positive("factor"));
      case "llama3" -> llama3(rope);
      default -> throw rope.bad(field, "one of default, linear, llama3");
    };
  }

  private static RopeScaling llama3(JsonObject rope) {
    double low = rope.positive("low_freq_factor");
    double high = rope.positive("high_freq_factor");
    if (high <= low) {
      throw rope.bad("high_freq_factor", "> low_freq_factor, " + low);
    }
    return new RopeScaling.Llama3(
        rope.positive("factor"),
        low,
        high,
        rope.integer("original_max_position_embeddings", 1, MAX_CONTEXT));
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
        return generation.integers("eos_token_id", 0, vocabulary - 1);
      }
    }
    return config.integers("eos_token_id", 0, vocabulary - 1);
  }
}
