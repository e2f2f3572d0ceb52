package dev.baton.engine.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.reference.ReferenceDevice;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineException.Kind;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.checkpoint.ConfigReader;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.checkpoint.Seed;
import dev.baton.engine.checkpoint.TinyModel;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Model directories that lie about their sizes: refused for a reason, with memory to spare. */
class HostileModelTest {

  private static final long AVAILABLE = 1L << 30;

  private static final List<String> FIELDS =
      List.of(
          "vocab_size",
          "hidden_size",
          "intermediate_size",
          "num_hidden_layers",
          "num_attention_heads",
          "num_key_value_heads",
          "head_dim",
          "max_position_embeddings",
          "rms_norm_eps",
          "rope_theta",
          "rope_scaling",
          "rope_parameters",
          "num_experts",
          "num_local_experts",
          "num_experts_per_tok",
          "moe_intermediate_size",
          "decoder_sparse_step",
          "mlp_only_layers",
          "sliding_window",
          "max_window_layers",
          "layer_types",
          "eos_token_id",
          "tie_word_embeddings",
          "attention_bias",
          "use_sliding_window",
          "dtype");

  private static final List<Object> VALUES =
      List.of(
          0,
          1,
          2,
          3,
          7,
          40,
          -1,
          1 << 14,
          1 << 24,
          Integer.MAX_VALUE,
          Long.MAX_VALUE,
          "1e300",
          "1e-300",
          "0.5",
          "null",
          "true",
          "[]",
          "[0]",
          "{}",
          "\"float16\"",
          "{\"rope_type\": \"yarn\", \"factor\": 1e300}",
          "{\"rope_type\": \"yarn\", \"factor\": 2, \"beta_fast\": 1e-320}",
          "{\"rope_type\": \"linear\", \"factor\": 1e-320}");

  @TempDir Path directory;

  @Test
  void aConfigWithAnyValuesEndsInAModelOrInAnEngineException() throws IOException {
    Random random = Seed.random("hostile configs");
    new TinyModel().write(directory);
    int loaded = 0;
    for (int round = 0; round < 500; round++) {
      TinyModel model = new TinyModel();
      String family =
          List.of("Llama", "Mistral", "Qwen2", "Qwen3", "Mixtral", "Qwen3Moe")
              .get(random.nextInt(6));
      model.with(
          "architectures",
          "[\"%sForCausalLM\"]".formatted(random.nextInt(3) == 0 ? family : "Llama"));
      for (int i = random.nextInt(4); i > 0; i--) {
        model.with(
            FIELDS.get(random.nextInt(FIELDS.size())), VALUES.get(random.nextInt(VALUES.size())));
      }
      Files.writeString(directory.resolve("config.json"), model.json());
      try {
        load(directory).close();
        loaded++;
      } catch (EngineException e) {
        assertThat(e.kind())
            .as("%s: %s", model.json(), e.getMessage())
            .isIn(Kind.BAD_MODEL, Kind.INVALID, Kind.NO_CAPACITY);
      }
    }
    assertThat(loaded).isPositive();
  }

  @Test
  void aModelLargerThanMemoryIsRefusedWithTheSumsBeforeItIsRead() throws IOException {
    TinyModel tiny =
        new TinyModel()
            .with("vocab_size", 1 << 20)
            .with("hidden_size", 1 << 12)
            .with("head_dim", 64)
            .with("tie_word_embeddings", true);
    Files.writeString(directory.resolve("config.json"), tiny.json());
    ModelConfig config = ConfigReader.read(directory);
    writeHoles(directory.resolve("model.safetensors"), config);
    assertThatThrownBy(() -> load(directory))
        .isInstanceOfSatisfying(
            EngineException.class, e -> assertThat(e.kind()).isEqualTo(Kind.NO_CAPACITY))
        .hasMessageContaining("memory: weights ")
        .hasMessageContaining("available");
  }

  /** Every tensor of the model, in a file that takes no room on the disk. */
  private static void writeHoles(Path file, ModelConfig config) throws IOException {
    List<String> entries = new ArrayList<>();
    long end = 0;
    for (Map.Entry<String, List<Integer>> each : config.architecture().tensors(config).entrySet()) {
      long from = end;
      end +=
          each.getValue().stream()
              .mapToLong(Integer::longValue)
              .reduce(Float.BYTES, (a, b) -> a * b);
      entries.add(
          "\"%s\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
              .formatted(each.getKey(), each.getValue(), from, end));
    }
    byte[] header = ("{" + String.join(",", entries) + "}").getBytes(StandardCharsets.UTF_8);
    try (RandomAccessFile out = new RandomAccessFile(file.toFile(), "rw")) {
      out.write(
          ByteBuffer.allocate(Long.BYTES + header.length)
              .order(ByteOrder.LITTLE_ENDIAN)
              .putLong(header.length)
              .put(header)
              .array());
      out.setLength(Long.BYTES + header.length + end);
    }
  }

  private static ModelRunner load(Path model) {
    EngineOptions options = EngineOptions.of(model).withKvCacheBytes(0).withStepTokens(16);
    return ModelLoader.load(options, line -> {}, ReferenceDevice.open(), AVAILABLE, Long.MAX_VALUE);
  }
}
