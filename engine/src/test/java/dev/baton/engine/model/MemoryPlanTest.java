package dev.baton.engine.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.device.DeviceMemory;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Formats;
import dev.baton.engine.checkpoint.ConfigReader;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.checkpoint.TinyModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MemoryPlanTest {

  private static final long GIB = 1L << 30;

  /** 2 sides, 16 layers, 8 KV heads of 64, bfloat16: 32 KiB a token, as in Llama 3.2 1B. */
  private static final long TOKEN = 2L * 16 * 8 * 64 * 2;

  @TempDir Path directory;
  private ModelConfig config;
  private EngineOptions options;

  @BeforeEach
  void llama1b() throws IOException {
    // Without weights: 2.5 GB are not written for this.
    Files.writeString(
        directory.resolve("config.json"),
        """
        {"architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 8192,
         "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
         "vocab_size": 128256, "tie_word_embeddings": true, "max_position_embeddings": 131072}
        """);
    config = ConfigReader.read(directory);
    options = EngineOptions.of(directory).withMaxSessions(4).withContextLength(8192);
  }

  @Test
  void takesAShareOfFreeMemoryButNoMoreThanAllSessionsNeed() {
    MemoryPlan modest = plan(options, 8 * GIB);
    assertThat(modest.kv()).isBetween(TOKEN * 8192, (8 * GIB - modest.weights()) / 4);
    MemoryPlan ample = plan(options, 100 * GIB);
    assertThat(ample.kv()).isEqualTo(4 * 8192 * TOKEN);
    assertThat(ample.blocks()).isEqualTo(4 * 256);
    assertThat(ample.contextLength()).isEqualTo(8192);
    assertThat(ample.sessionBlocks(32)).isEqualTo(256);
  }

  @Test
  void weightsAreTheModelsParametersWithATiedOutputLayerOnce() {
    long parameters = 1_235_814_400L;
    assertThat(plan(options, 100 * GIB).weights())
        .isBetween(parameters * 2, parameters * 2 + (8 << 20));
  }

  @Test
  void takesWhatItIsGivenInWholeBlocks() {
    long asked = 9000 * TOKEN + 5;
    MemoryPlan plan = plan(options.withKvCacheBytes(asked), 100 * GIB);
    assertThat(plan.blocks()).isEqualTo(9000 / 32);
    assertThat(plan.kv()).isEqualTo(9000 / 32 * 32 * TOKEN);
  }

  @Test
  void countsReplicasOfKvHeads() throws IOException {
    ModelConfig tiny =
        ConfigReader.read(
            new TinyModel().with("num_attention_heads", 8).write(directory.resolve("tiny")));
    EngineOptions one = EngineOptions.of(directory).withContextLength(64);
    long kv = MemoryPlan.make(tiny, one, 64, Formats.of(DType.FLOAT32), host(GIB), 0).kv();
    assertThat(
            MemoryPlan.make(
                    tiny, one.withTensorParallel(8), 64, Formats.of(DType.FLOAT32), host(GIB), 0)
                .kv())
        .isEqualTo(4 * kv);
  }

  @Test
  void countsEveryExpertAndTheRoutersRowForIt() throws IOException {
    long row = 32L * Float.BYTES;
    assertThat(weightsWithExperts(7) - weightsWithExperts(6)).isEqualTo(2 * (3 * 44 + 1) * row);
  }

  private long weightsWithExperts(int experts) throws IOException {
    ModelConfig mixture =
        ConfigReader.read(
            new TinyModel()
                .with("architectures", "[\"MixtralForCausalLM\"]")
                .with("num_local_experts", experts)
                .with("num_experts_per_tok", 2)
                .write(directory.resolve("experts" + experts)));
    EngineOptions one = EngineOptions.of(directory).withContextLength(64);
    return MemoryPlan.make(mixture, one, 64, Formats.of(DType.FLOAT32), host(GIB), 0).weights();
  }

  @Test
  void refusesAKvCacheThatHoldsNoWholeSession() {
    assertThatThrownBy(() -> plan(options.withKvCacheBytes(8191 * TOKEN), 100 * GIB))
        .isInstanceOfSatisfying(
            EngineException.class,
            e -> assertThat(e.kind()).isEqualTo(EngineException.Kind.INVALID))
        .hasMessageContaining("kvCacheBytes: 268402688 (expected: >= 268435456")
        .hasMessageContaining("8192 tokens");
  }

  @Test
  void theModelsOwnContextIsCutToWhatFits() {
    EngineOptions any = options.withContextLength(0);
    MemoryPlan plan =
        MemoryPlan.make(config, any, 131072, Formats.of(DType.BFLOAT16), host(8 * GIB), 0);
    long room = 8 * GIB - (256L << 20) - plan.weights() - plan.activations();
    assertThat(plan.kv()).isBetween(room / 2 - (2 << 20), room / 2);
    assertThat(plan.contextLength()).isEqualTo((int) (plan.kv() / TOKEN));
    assertThat(plan.contextLength()).isLessThan(131072);
    MemoryPlan given =
        MemoryPlan.make(
            config,
            any.withKvCacheBytes(1000 * TOKEN),
            131072,
            Formats.of(DType.BFLOAT16),
            host(100 * GIB),
            0);
    assertThat(given.contextLength()).isEqualTo(1000 / 32 * 32);
  }

  @Test
  void aContextThatWasAskedForIsRefusedWithTheLargestThatFits() {
    assertThatThrownBy(() -> plan(options.withContextLength(131072), 5 * GIB))
        .isInstanceOfSatisfying(
            EngineException.class,
            e -> assertThat(e.kind()).isEqualTo(EngineException.Kind.NO_CAPACITY))
        .hasMessageContaining("131072 tokens needs KV of 4096.0 MiB")
        .hasMessageMatching(".* [0-9]{5} tokens are the most that fit.*");
    assertThatThrownBy(() -> plan(options.withKvCacheBytes(100 * TOKEN), 100 * GIB))
        .isInstanceOf(EngineException.class)
        .hasMessageContaining("a contextLength of at most 96");
  }

  @Test
  void aCacheOfLessThanABlockIsRefusedWithTheSizeOfABlockAndOfASession() {
    assertThatThrownBy(() -> plan(options.withKvCacheBytes(1024), 100 * GIB))
        .isInstanceOf(EngineException.class)
        .hasMessage(
            "kvCacheBytes: 1024 (expected: >= %d, one block of 32 tokens; one session of 8192 needs %d)"
                .formatted(32 * TOKEN, 8192 * TOKEN));
  }

  @Test
  void swapSpaceIsAShareOfTheRestAndNoLargerThanTheCache() {
    assertThat(plan(options, 100 * GIB).swap()).isEqualTo(plan(options, 100 * GIB).kv());
    assertThat(plan(options, 5 * GIB).swap()).isBetween(1L, GIB / 2);
    assertThat(plan(options.withSwapBytes(12345), 100 * GIB).swap()).isEqualTo(12345);
    assertThat(plan(options.withSwapBytes(0), 100 * GIB).swap()).isZero();
  }

  @Test
  void aSessionOfAModelWithAWindowNeedsItsWindowOnly() throws IOException {
    ModelConfig mistral =
        ConfigReader.read(
            new TinyModel()
                .with("architectures", "[\"MistralForCausalLM\"]")
                .with("sliding_window", 40)
                .with("max_position_embeddings", 4096)
                .write(directory.resolve("mistral")));
    EngineOptions one = EngineOptions.of(directory).withMaxSessions(1).withStepTokens(64);
    MemoryPlan plan = MemoryPlan.make(mistral, one, 4096, Formats.of(DType.FLOAT32), host(GIB), 0);
    assertThat(MemoryPlan.window(mistral)).isEqualTo(40);
    assertThat(plan.contextLength()).isEqualTo(4096);
    assertThat(plan.blocks()).isEqualTo((40 + 64 + 30) / 32 + 1);
  }

  @Test
  void saysTheSumsWhenMemoryIsTooSmall() {
    assertThatThrownBy(() -> plan(options, 5 * GIB / 2))
        .isInstanceOfSatisfying(
            EngineException.class,
            e -> assertThat(e.kind()).isEqualTo(EngineException.Kind.NO_CAPACITY))
        .hasMessageContaining("weights 2359.")
        .hasMessageContaining("KV 256.0 MiB")
        .hasMessageContaining("2304.0 MiB available");
    assertThatThrownBy(() -> plan(options.withKvCacheBytes(50 * GIB), 20 * GIB))
        .isInstanceOf(EngineException.class)
        .hasMessageContaining("KV 50.0 GiB");
  }

  private static DeviceMemory host(long available) {
    return new DeviceMemory(available, 1, false);
  }

  private MemoryPlan plan(EngineOptions options, long available) {
    return MemoryPlan.make(
        config, options, options.contextLength(), Formats.of(DType.BFLOAT16), host(available), 0);
  }
}
