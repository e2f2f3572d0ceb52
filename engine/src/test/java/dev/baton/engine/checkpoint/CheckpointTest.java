package dev.baton.engine.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.engine.EngineException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointTest {

  private static final String SHARD_2 = "model-00002-of-00002.safetensors";

  @TempDir Path directory;

  @Test
  void shardsGiveTheTensorsOfASingleFile() throws IOException {
    Path single = new TinyModel().write(directory.resolve("single"));
    Path shards = new TinyModel().inShards().write(directory.resolve("shards"));
    assertThat(shards.resolve("model.safetensors")).doesNotExist();
    try (Checkpoint a = Checkpoint.open(single);
        Checkpoint b = Checkpoint.open(shards)) {
      assertThat(b.names()).containsExactlyElementsOf(a.names());
      for (String name : a.names()) {
        assertThat(b.get(name).shape()).isEqualTo(a.get(name).shape());
        assertThat(b.get(name).data().mismatch(a.get(name).data())).isEqualTo(-1);
      }
      ModelConfig config = ConfigReader.read(shards);
      config.architecture().check(config, b);
    }
  }

  @Test
  void followsTheLinksOfADownloadCache() throws IOException {
    Path blobs = new TinyModel().inShards().write(directory.resolve("blobs"));
    Path snapshot = Files.createDirectories(directory.resolve("snapshots/abc"));
    try (Stream<Path> files = Files.list(blobs)) {
      for (Path file : files.toList()) {
        Files.createSymbolicLink(
            snapshot.resolve(file.getFileName()),
            Path.of("../../blobs").resolve(file.getFileName()));
      }
    }
    Path link = Files.createSymbolicLink(directory.resolve("latest"), snapshot);
    ModelConfig config = ConfigReader.read(link);
    try (Checkpoint checkpoint = Checkpoint.open(link)) {
      config.architecture().check(config, checkpoint);
    }
  }

  @Test
  void refusesADirectoryWithoutWeights() throws IOException {
    Files.writeString(directory.resolve("pytorch_model.bin"), "");
    refuses(directory, "expected: model.safetensors or model.safetensors.index.json");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../secret.safetensors",
        "/etc/passwd",
        "a\\\\b.safetensors",
        "weights.bin",
        "\\u0000.safetensors",
        "\\ud800.safetensors",
        ".safetensors",
        ""
      })
  void refusesAShardThatIsNotAFileBesideTheIndex(String file) throws IOException {
    Files.writeString(
        directory.resolve("model.safetensors.index.json"),
        "{\"weight_map\": {\"a\": \"%s\"}}".formatted(file));
    refuses(directory, "beside the index");
  }

  @Test
  void refusesAMissingShard() throws IOException {
    new TinyModel().inShards().write(directory);
    Files.delete(directory.resolve(SHARD_2));
    refuses(directory, SHARD_2);
  }

  @Test
  void refusesATensorThatItsShardDoesNotHave() throws IOException {
    new TinyModel().inShards().write(directory);
    new SafetensorsWriter().add("other", List.of(1), 1).write(directory.resolve(SHARD_2));
    refuses(directory, "a file that has this tensor");
  }

  @Test
  void refusesATensorThatTwoShardsHave() throws IOException {
    new TinyModel().inShards().write(directory);
    new SafetensorsWriter()
        .add(TensorNames.EMBEDDING, List.of(1), 1)
        .write(directory.resolve(SHARD_2));
    refuses(directory, "in another shard");
  }

  @Test
  void namesAMissingTensorAndItsShape() throws IOException {
    new TinyModel().withTensor("model.layers.1.mlp.up_proj.weight", List.of()).write(directory);
    failsCheck("model.layers.1.mlp.up_proj.weight: missing (expected: shape [44, 32])");
  }

  @Test
  void namesAMisshapedTensorWithBothShapes() throws IOException {
    new TinyModel().withTensor("model.norm.weight", List.of(33)).write(directory);
    failsCheck("model.norm.weight: shape [33] (expected: [32])");
  }

  @Test
  void namesASurplusTensor() throws IOException {
    new TinyModel()
        .withTensor("model.layers.2.mlp.up_proj.weight", List.of(44, 32))
        .write(directory);
    failsCheck("model.layers.2.mlp.up_proj.weight: surplus");
  }

  @Test
  void saysHowManyMoreAreWrong() throws IOException {
    new TinyModel().write(directory);
    Files.writeString(
        directory.resolve("config.json"), new TinyModel().with("hidden_size", 64).json());
    failsCheck("and 18 more");
  }

  @Test
  void readsPastWhatNobodyNeeds() throws IOException {
    new TinyModel()
        .with("tie_word_embeddings", true)
        .withTensor("lm_head.weight", List.of(40, 32))
        .withTensor("model.layers.0.self_attn.rotary_emb.inv_freq", List.of(4))
        .withTensor("model.rotary_emb.inv_freq", List.of(4))
        .write(directory);
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      ModelConfig config = ConfigReader.read(directory);
      config.architecture().check(config, checkpoint);
    }
  }

  @Test
  void tiedWeightsMayBeStoredUnderEitherNameOrBoth() throws IOException {
    TinyModel model = new TinyModel().with("tie_word_embeddings", true);
    Path head =
        model
            .withTensor(TensorNames.EMBEDDING, List.of())
            .withTensor(TensorNames.LM_HEAD, List.of(40, 32))
            .write(directory.resolve("head"));
    ModelConfig config = ConfigReader.read(head);
    byte[] table;
    try (Checkpoint checkpoint = Checkpoint.open(head, config)) {
      table = checkpoint.get(TensorNames.EMBEDDING).data().toArray(ValueLayout.JAVA_BYTE);
    }
    Path both = directory.resolve("both");
    writeTied(both, table, table);
    Checkpoint.open(both, config).close();
    byte[] other = table.clone();
    other[other.length - 1]++;
    writeTied(both, table, other);
    assertThatThrownBy(() -> Checkpoint.open(both, config))
        .isInstanceOf(EngineException.class)
        .hasMessageContaining("lm_head.weight: differs from model.embed_tokens.weight")
        .hasMessageContaining("tie_word_embeddings");
  }

  private static void writeTied(Path to, byte[] embedding, byte[] head) throws IOException {
    Path plain = new TinyModel().with("tie_word_embeddings", true).write(to);
    SafetensorsWriter writer = new SafetensorsWriter();
    try (Checkpoint checkpoint = Checkpoint.open(plain)) {
      for (String name : checkpoint.names()) {
        CheckpointTensor tensor = checkpoint.get(name);
        boolean table = name.equals(TensorNames.EMBEDDING);
        byte[] bytes = table ? embedding : tensor.data().toArray(ValueLayout.JAVA_BYTE);
        writer.add(name, tensor.dtype(), tensor.shape(), bytes);
      }
    }
    writer.add(TensorNames.LM_HEAD, DType.FLOAT32, List.of(40, 32), head);
    writer.write(to.resolve("model.safetensors"));
  }

  @Test
  void namesOfABaseModelAreThoseOfTheModel() throws IOException {
    Path whole = new TinyModel().write(directory.resolve("whole"));
    Path bare = new TinyModel().write(directory.resolve("bare"));
    SafetensorsWriter writer = new SafetensorsWriter();
    ModelConfig config = ConfigReader.read(whole);
    try (Checkpoint checkpoint = Checkpoint.open(whole)) {
      for (String name : checkpoint.names()) {
        CheckpointTensor tensor = checkpoint.get(name);
        writer.add(
            name.replaceFirst("^model[.]", ""),
            tensor.dtype(),
            tensor.shape(),
            tensor.data().toArray(ValueLayout.JAVA_BYTE));
      }
    }
    writer.write(bare.resolve("model.safetensors"));
    try (Checkpoint a = Checkpoint.open(whole, config);
        Checkpoint b = Checkpoint.open(bare, config)) {
      assertThat(b.names()).containsExactlyElementsOf(a.names());
      for (String name : a.names()) {
        assertThat(b.get(name).data().mismatch(a.get(name).data())).isEqualTo(-1);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"MixtralForCausalLM", "Qwen3MoeForCausalLM"})
  void expertsInOneTensorAreTheExpertsOneByOne(String family) throws IOException {
    TinyModel model =
        new TinyModel()
            .with("architectures", "[\"%s\"]".formatted(family))
            .with("num_hidden_layers", 1)
            .with("num_local_experts", 3)
            .with("num_experts_per_tok", 2)
            .with("moe_intermediate_size", 44);
    Path single = model.write(directory.resolve("single"));
    ModelConfig config = ConfigReader.read(single);
    Path fused = Files.createDirectories(directory.resolve("fused"));
    try (Checkpoint checkpoint = Checkpoint.open(single, config)) {
      ByteArrayOutputStream gatesAndUps = new ByteArrayOutputStream();
      ByteArrayOutputStream downs = new ByteArrayOutputStream();
      SafetensorsWriter writer = new SafetensorsWriter();
      for (String name : checkpoint.names()) {
        byte[] bytes = checkpoint.get(name).data().toArray(ValueLayout.JAVA_BYTE);
        if (name.contains("down_proj") || name.contains("w2")) {
          downs.writeBytes(bytes);
        } else if (!name.contains("experts")) {
          writer.add(
              name.replace("block_sparse_moe", "mlp"),
              DType.FLOAT32,
              checkpoint.get(name).shape(),
              bytes);
        }
      }
      for (int expert = 0; expert < 3; expert++) {
        TensorNames.Expert names = new TensorNames(0).expert(config.architecture(), expert);
        for (String name : List.of(names.gate(), names.up())) {
          gatesAndUps.writeBytes(checkpoint.get(name).data().toArray(ValueLayout.JAVA_BYTE));
        }
      }
      String experts = "model.layers.0.mlp.experts.";
      writer
          .add(
              experts + "gate_up_proj",
              DType.FLOAT32,
              List.of(3, 88, 32),
              gatesAndUps.toByteArray())
          .add(experts + "down_proj", DType.FLOAT32, List.of(3, 32, 44), downs.toByteArray())
          .write(fused.resolve("model.safetensors"));
      try (Checkpoint same = Checkpoint.open(fused, config)) {
        assertThat(same.names()).containsExactlyElementsOf(checkpoint.names());
        for (String name : checkpoint.names()) {
          assertThat(same.get(name).data().mismatch(checkpoint.get(name).data()))
              .as(name)
              .isEqualTo(-1);
        }
      }
    }
  }

  private void failsCheck(String reason) {
    ModelConfig config = ConfigReader.read(directory);
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      assertThatThrownBy(() -> config.architecture().check(config, checkpoint))
          .isInstanceOfSatisfying(
              EngineException.class,
              e -> assertThat(e.kind()).isEqualTo(EngineException.Kind.BAD_MODEL))
          .hasMessageContaining(directory.toString())
          .hasMessageContaining(reason);
    }
  }

  private static void refuses(Path directory, String reason) {
    assertThatThrownBy(() -> Checkpoint.open(directory))
        .isInstanceOfSatisfying(
            EngineException.class,
            e -> assertThat(e.kind()).isEqualTo(EngineException.Kind.BAD_MODEL))
        .hasMessageContaining(reason);
  }
}
