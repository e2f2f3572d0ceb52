package dev.baton.engine.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.engine.EngineException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ConfigReaderTest {

  /** Llama 3.2 1B, as transformers 4 writes it. */
  private static final String TRANSFORMERS_4 =
      """
      {"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
       "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64,
       "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
       "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
       "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16,
       "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
       "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                        "original_max_position_embeddings": 8192, "rope_type": "llama3"},
       "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
       "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256}
      """;

  @TempDir Path directory;

  @Test
  void readsTheFormOfTransformers4() throws IOException {
    assertThat(read(TRANSFORMERS_4))
        .isEqualTo(
            new ModelConfig(
                Architecture.LLAMA,
                128256,
                2048,
                8192,
                16,
                32,
                8,
                64,
                1e-5f,
                500000,
                new RopeScaling.Llama3(32, 1, 4, 8192),
                new Biases(false, false, false),
                Collections.nCopies(16, 0),
                null,
                true,
                131072,
                DType.BFLOAT16,
                List.of(128001, 128008, 128009)));
  }

  @Test
  void readsTheFormOfTransformers5AsTheSameModel() throws IOException {
    String rope =
        "\"rope_parameters\": {\"rope_theta\": 500000.0, \"factor\": 32.0, \"high_freq_factor\":"
            + " 4.0, \"low_freq_factor\": 1.0, \"original_max_position_embeddings\": 8192,"
            + " \"rope_type\": \"llama3\"},";
    String newer =
        TRANSFORMERS_4
            .replaceAll("(?s)\"rope_scaling\".*?\\},", rope)
            .replace("\"rope_theta\": 500000.0, \"tie", "\"tie")
            .replace("torch_dtype", "dtype");
    assertThat(newer).contains("rope_parameters").doesNotContain("rope_scaling");
    assertThat(read(newer)).isEqualTo(read(TRANSFORMERS_4));
  }

  @Test
  void takesTransformersDefaultsForAbsentFields() throws IOException {
    ModelConfig config =
        read(
            """
            {"architectures": ["LlamaForCausalLM"], "vocab_size": 10, "hidden_size": 16,
             "intermediate_size": 20, "num_hidden_layers": 1, "num_attention_heads": 4,
             "head_dim": null, "rope_scaling": null, "eos_token_id": null}
            """);
    assertThat(config.kvHeads()).isEqualTo(4);
    assertThat(config.headDim()).isEqualTo(4);
    assertThat(config.normEpsilon()).isEqualTo(1e-6f);
    assertThat(config.ropeTheta()).isEqualTo(10000);
    assertThat(config.ropeScaling()).isEqualTo(new RopeScaling.None());
    assertThat(config.tiedEmbeddings()).isFalse();
    assertThat(config.contextLength()).isEqualTo(2048);
    assertThat(config.dtype()).isNull();
    assertThat(config.eosTokenIds()).isEmpty();
  }

  @Test
  void readsLinearRopeScalingUnderItsOldName() throws IOException {
    String json =
        new TinyModel().with("rope_scaling", "{\"type\": \"linear\", \"factor\": 2.5}").json();
    assertThat(read(json).ropeScaling()).isEqualTo(new RopeScaling.Linear(2.5));
  }

  @Test
  void aWindowOfMistralIsOnEveryLayerUnlessItIsNull() throws IOException {
    TinyModel model = new TinyModel().with("architectures", "[\"MistralForCausalLM\"]");
    assertThat(read(model.json()).windows()).containsExactly(4096, 4096);
    assertThat(read(model.with("sliding_window", 24).json()).windows()).containsExactly(24, 24);
    assertThat(read(model.with("sliding_window", "null").json()).windows()).containsExactly(0, 0);
    refuses(model.with("sliding_window", 0).json(), "a whole number from 1");
  }

  @Test
  void aWindowOfQwenIsOnUpperLayersAndOnlyWhenUsed() throws IOException {
    for (String family : List.of("Qwen2ForCausalLM", "Qwen3ForCausalLM")) {
      TinyModel model =
          new TinyModel()
              .with("architectures", "[\"%s\"]".formatted(family))
              .with("sliding_window", 24)
              .with("max_window_layers", 1);
      assertThat(read(model.json()).windows()).containsExactly(0, 0);
      model.with("use_sliding_window", true);
      assertThat(read(model.json()).windows()).containsExactly(0, 24);
      model.with("layer_types", "[\"sliding_attention\", \"full_attention\"]");
      assertThat(read(model.json()).windows()).containsExactly(24, 0);
      refuses(model.with("layer_types", "[\"full_attention\"]").json(), "one for each of 2 layers");
      refuses(
          model.with("layer_types", "[\"full_attention\", \"linear\"]").json(),
          "full_attention or sliding_attention each");
    }
  }

  @Test
  void everyLayerOfMixtralIsAMixtureOfItsOwnInnerSize() throws IOException {
    ModelConfig config = read(mixtral().json());
    assertThat(config.mixture()).isEqualTo(new Mixture(6, 2, 44, true, Set.of(0, 1)));
    assertThat(config.denseSize()).isZero();
    assertThat(config.normEpsilon()).isEqualTo(1e-5f);
    assertThat(config.ropeTheta()).isEqualTo(1e6);
    assertThat(config.windows()).containsExactly(0, 0);
    refuses(mixtral().with("num_experts_per_tok", 7).json(), "a whole number from 1 to 6");
    refuses(mixtral().with("num_local_experts", "null").json(), "num_local_experts: missing");
  }

  @Test
  void someLayersOfQwenMayHaveNoMixture() throws IOException {
    TinyModel model = qwenMixture();
    assertThat(read(model.json()).mixture())
        .isEqualTo(new Mixture(6, 2, 10, false, Set.of(0, 1, 2, 3)));
    assertThat(read(model.json()).windows()).containsOnly(0);
    model.with("norm_topk_prob", true).with("decoder_sparse_step", 2);
    assertThat(read(model.json()).mixture()).isEqualTo(new Mixture(6, 2, 10, true, Set.of(1, 3)));
    ModelConfig config = read(model.with("mlp_only_layers", "[3]").json());
    assertThat(config.mixtureIn(3)).isNull();
    assertThat(config.mixtureIn(1)).isNotNull();
    assertThat(config.denseSize()).isEqualTo(44);
    assertThat(read(model.with("mlp_only_layers", "[1, 3]").json()).mixture()).isNull();
  }

  @Test
  void readsTheNumberOfQwensExpertsUnderItsNewNameToo() throws IOException {
    String old = qwenMixture().json();
    assertThat(read(old.replace("num_experts\"", "num_local_experts\""))).isEqualTo(read(old));
  }

  private static TinyModel mixtral() {
    return new TinyModel()
        .with("architectures", "[\"MixtralForCausalLM\"]")
        .with("num_local_experts", 6)
        .with("num_experts_per_tok", 2);
  }

  private static TinyModel qwenMixture() {
    return new TinyModel()
        .with("architectures", "[\"Qwen3MoeForCausalLM\"]")
        .with("num_hidden_layers", 4)
        .with("num_experts", 6)
        .with("num_experts_per_tok", 2)
        .with("moe_intermediate_size", 10);
  }

  @Test
  void transformersIgnoresAWindowOfLlamaAndSoDoWe() throws IOException {
    assertThat(read(new TinyModel().with("sliding_window", 24).json()).windows())
        .containsExactly(0, 0);
  }

  @Test
  void prefersEndTokensOfTheGenerationConfig() throws IOException {
    Files.writeString(directory.resolve("generation_config.json"), "{\"eos_token_id\": [3, 4]}");
    assertThat(read(new TinyModel().json()).eosTokenIds()).containsExactly(3, 4);
    Files.writeString(directory.resolve("generation_config.json"), "{\"eos_token_id\": 5}");
    assertThat(read(new TinyModel().json()).eosTokenIds()).containsExactly(5);
    Files.writeString(directory.resolve("generation_config.json"), "{}");
    assertThat(read(new TinyModel().json()).eosTokenIds()).containsExactly(2);
  }

  @Test
  void anEndTokenThatTheVocabularyDoesNotHaveEndsNothing() throws IOException {
    String json = new TinyModel().with("eos_token_id", "[-1, 39, 40, 151645]").json();
    assertThat(read(json).eosTokenIds()).containsExactly(39);
  }

  @Test
  void scalingUnderItsOldNameGoesBeforeTheNewAsInTransformers() throws IOException {
    TinyModel model =
        new TinyModel()
            .with("rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 500.0}")
            .with("rope_scaling", "{\"type\": \"linear\", \"factor\": 2}");
    assertThat(read(model.json()).ropeScaling()).isEqualTo(new RopeScaling.Linear(2));
    assertThat(read(model.json()).ropeTheta()).isEqualTo(10000);
    model.with("rope_scaling", "{}");
    assertThat(read(model.json()).ropeScaling()).isEqualTo(new RopeScaling.None());
    assertThat(read(model.json()).ropeTheta()).isEqualTo(500);
  }

  @Test
  void biasesAreWhereTheFamilyHasThem() throws IOException {
    TinyModel model = new TinyModel();
    assertThat(read(model.json()).biases()).isEqualTo(new Biases(false, false, false));
    model.with("attention_bias", true).with("mlp_bias", true);
    assertThat(read(model.json()).biases()).isEqualTo(new Biases(true, true, true));
    refuses(model.with("architectures", "[\"Qwen3ForCausalLM\"]").json(), "mlp_bias: true");
    assertThat(read(model.with("mlp_bias", false).json()).biases())
        .isEqualTo(new Biases(true, true, false));
    for (String family : List.of("MistralForCausalLM", "MixtralForCausalLM")) {
      model.with("architectures", "[\"%s\"]".formatted(family)).with("num_local_experts", 4);
      refuses(model.with("num_experts_per_tok", 2).json(), "attention_bias: true (expected: false");
    }
    model = new TinyModel().with("architectures", "[\"Qwen2ForCausalLM\"]");
    assertThat(read(model.json()).biases()).isEqualTo(new Biases(true, false, false));
  }

  @Test
  void yarnReachesBeyondTheFirstTrainingsContext() throws IOException {
    String rope = "{\"type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": %d}";
    TinyModel model = new TinyModel().with("max_position_embeddings", 64);
    ModelConfig config = read(model.with("rope_scaling", rope.formatted(64)).json());
    assertThat(config.contextLength()).isEqualTo(256);
    assertThat(config.ropeScaling())
        .isEqualTo(new RopeScaling.Yarn(4, 0, 2, 0.1 * Math.log(4) + 1));
    assertThat(read(model.with("rope_scaling", rope.formatted(8)).json()).contextLength())
        .isEqualTo(64);
    model.with("rope_scaling", "{\"type\": \"yarn\", \"factor\": 4, \"attention_factor\": 2}");
    assertThat(read(model.json()).contextLength()).isEqualTo(64);
    assertThat(read(model.json()).ropeScaling()).isEqualTo(new RopeScaling.Yarn(4, 0, 2, 2));
  }

  @Test
  void dynamicScalingIsNoneWithinTheContext() throws IOException {
    ModelConfig config =
        read(new TinyModel().with("rope_scaling", "{\"type\": \"dynamic\", \"factor\": 8}").json());
    assertThat(config.ropeScaling()).isEqualTo(new RopeScaling.None());
    assertThat(config.contextLength()).isEqualTo(64);
  }

  @Test
  void layerTypesOfAFamilyWithoutThemMustBeItsOwn() throws IOException {
    TinyModel model =
        new TinyModel().with("layer_types", "[\"full_attention\", \"full_attention\"]");
    assertThat(read(model.json()).windows()).containsExactly(0, 0);
    model.with("architectures", "[\"MistralForCausalLM\"]").with("sliding_window", 8);
    refuses(model.json(), "sliding_attention in every layer");
    model.with("layer_types", "[\"sliding_attention\", \"sliding_attention\"]");
    assertThat(read(model.json()).windows()).containsExactly(8, 8);
    refuses(model.with("architectures", "[\"Qwen3ForCausalLM\"]").json(), "without sliding_window");
  }

  @Test
  void refusesMoreExpertsThanAnyModelHas() {
    refuses(qwenMixture().with("num_experts", 4096).with("num_hidden_layers", 17).json(), "65536");
  }

  @ParameterizedTest(name = "{0}: {1}")
  @CsvSource(
      delimiter = '|',
      value = {
        "architectures           | [\"GPT2LMHeadModel\"]        | GPT2LMHeadModel (expected: one of"
            + " LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM,"
            + " MixtralForCausalLM, Qwen3MoeForCausalLM",
        "rope_parameters         | {\"full_attention\": {}}      | one rotation for all layers",
        "architectures           | []                           | a list of one name",
        "architectures           | null                         | architectures: missing",
        "vocab_size              | 0                            | a whole number from 1",
        "vocab_size              | 1e30                         | a whole number from 1",
        "hidden_size             | 99999999999999999999         | a whole number from 1",
        "hidden_size             | \"64\"                       | a whole number from 1",
        "hidden_size             | 33                           | a multiple of"
            + " num_attention_heads, 4",
        "num_hidden_layers       | -1                           | a whole number from 1",
        "num_key_value_heads     | 3                            | a divisor of num_attention_heads,"
            + " 4",
        "head_dim                | 7                            | an even number",
        "rms_norm_eps            | -1                           | a number > 0",
        "rope_theta              | 0                            | a number > 0",
        "hidden_act              | \"gelu\"                     | expected: silu",
        "partial_rotary_factor   | 0.5                          | expected: 1",
        "rope_parameters         | {\"partial_rotary_factor\": 0.5} | expected: 1",
        "rope_scaling            | {\"partial_rotary_factor\": 0.5} | expected: 1",
        "rope_scaling            | {\"sliding_attention\": {}}   | one rotation for all layers",
        "final_logit_softcapping | 30.0                         | do not have it",
        "residual_multiplier     | 0.22                         | expected: 1",
        "no_rope_layers          | [1]                          | do not have it",
        "quantization_config     | {\"bits\": 4}                | weights in F32",
        "dtype                   | \"float8_e4m3fn\"            | float32, bfloat16, float16",
        "eos_token_id            | \"two\"                      | a whole number",
        "model_type              | \"mistral\"                  | expected: llama",
        "tie_word_embeddings     | 1                            | true or false",
        "rope_scaling            | 8                            | an object",
        "rope_scaling            | {\"rope_type\": \"longrope\"} | one of default, linear, dynamic,"
            + " llama3, yarn",
        "rope_scaling            | {\"type\": \"linear\"}       | factor: missing",
        "rope_parameters         | {\"rope_type\": \"mrope\"} | one of default, linear, dynamic,"
            + " llama3, yarn",
        "rope_scaling            | {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\":"
            + " 4, \"high_freq_factor\": 4, \"original_max_position_embeddings\": 64} | >"
            + " low_freq_factor",
      })
  void refusesByNameWhatItCannotRun(String field, String value, String reason) {
    refuses(new TinyModel().with(field, value).json(), reason);
  }

  @ParameterizedTest
  @ValueSource(strings = {"rms_norm_eps", "rope_theta", "n_shared_experts", "logit_scale"})
  void refusesNumbersBeyondAnyByName(String field) {
    refuses(new TinyModel().with(field, "1" + "0".repeat(400)).json(), "config.json: " + field);
  }

  @Test
  void refusesADirectoryWithoutConfig() {
    assertThatThrownBy(() -> ConfigReader.read(directory))
        .isInstanceOf(EngineException.class)
        .hasMessageContaining("config.json: missing");
    assertThatThrownBy(() -> ConfigReader.read(directory.resolve("absent")))
        .isInstanceOf(EngineException.class)
        .hasMessageContaining("expected: a directory");
  }

  @Test
  void refusesWhatIsNotJson() {
    refuses("", "config.json");
    refuses("no", "not JSON");
    refuses("[1]", "expected: an object");
    refuses("{", "line 1, column 2: Unexpected end-of-input: expected close marker for Object");
    refuses("[".repeat(1000), "nesting depth (501) exceeds the maximum allowed (500)");
    refuses("{\"vocab_size\": 1, \"vocab_size\": 2}", "not JSON");
  }

  @Test
  void mutatedConfigsEndInAConfigOrInAnEngineException() throws IOException {
    Random random = Seed.random("config mutations");
    String alphabet = "0123456789-[]{}\",:eE.truefalsn\u0000";
    for (int round = 0; round < 2000; round++) {
      StringBuilder json = new StringBuilder(TRANSFORMERS_4);
      for (int i = random.nextInt(6); i >= 0; i--) {
        json.setCharAt(
            random.nextInt(json.length()), alphabet.charAt(random.nextInt(alphabet.length())));
      }
      try {
        assertThat(read(json.toString()).layers()).isPositive();
      } catch (EngineException e) {
        assertThat(e.kind()).isEqualTo(EngineException.Kind.BAD_MODEL);
      }
    }
  }

  private ModelConfig read(String json) throws IOException {
    Files.writeString(directory.resolve("config.json"), json);
    return ConfigReader.read(directory);
  }

  private void refuses(String json, String reason) {
    assertThatThrownBy(() -> read(json))
        .isInstanceOfSatisfying(
            EngineException.class,
            e -> assertThat(e.kind()).isEqualTo(EngineException.Kind.BAD_MODEL))
        .hasMessageContaining("config.json")
        .hasMessageContaining(reason);
  }
}
