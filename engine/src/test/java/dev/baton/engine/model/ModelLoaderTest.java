package dev.baton.engine.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.OutOfDeviceMemoryException;
import dev.baton.device.SlabRegion;
import dev.baton.device.reference.ReferenceDevice;
import dev.baton.engine.DeviceOptions;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineException.Kind;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.Precision;
import dev.baton.engine.checkpoint.TinyModel;
import dev.baton.peer.FingerprintParts;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ModelLoaderTest {

  @TempDir Path directory;

  /** A pool has ended before its threads have: they get a moment to die, but nothing to do. */
  @AfterEach
  void noThreadIsLeft() throws InterruptedException {
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (thread.getName().startsWith("baton-")) {
        assertThat(thread.join(Duration.ofSeconds(10))).as("%s has ended", thread).isTrue();
      }
    }
  }

  @Test
  void describesTheModelAlikeForAnyShape() throws IOException {
    Path model = new TinyModel().with("max_position_embeddings", 100).write(directory);
    ModelInfo plain;
    try (ModelRunner runner = load(EngineOptions.of(model).withServedName("tiny"))) {
      plain = runner.model();
      assertThat(plain.name()).isEqualTo("tiny");
      assertThat(plain.architecture()).isEqualTo("LlamaForCausalLM");
      assertThat(plain.contextLength()).isEqualTo(100);
      assertThat(plain.vocabularySize()).isEqualTo(40);
      assertThat(plain.layers()).isEqualTo(2);
      assertThat(plain.kvHeads()).isEqualTo(2);
      assertThat(plain.headDim()).isEqualTo(8);
      assertThat(plain.kvDtype()).isEqualTo(DType.FLOAT32);
      assertThat(plain.eosTokenIds()).containsExactly(2);
      assertThat(runner.blockTokens()).isEqualTo(32);
      assertThat(runner.blocks()).isEqualTo(64 * 4);
    }
    EngineOptions other =
        EngineOptions.of(model).withTensorParallel(4).withBlockTokens(64).withContextLength(50);
    try (ModelRunner runner = load(other)) {
      assertThat(runner.model().fingerprint()).isEqualTo(plain.fingerprint());
      assertThat(runner.model().contextLength()).isEqualTo(50);
      assertThat(runner.blocks()).isEqualTo(64);
    }
    try (ModelRunner runner = load(EngineOptions.of(model).withPrecision(Precision.BFLOAT16))) {
      assertThat(runner.model().fingerprint()).isNotEqualTo(plain.fingerprint());
      assertThat(runner.model().kvDtype()).isEqualTo(DType.BFLOAT16);
    }
  }

  @Test
  void onlyMixedNumericsExchangeKvOfDifferentDtypes() throws IOException {
    Path model = new TinyModel().write(directory);
    EngineOptions exact = EngineOptions.of(model);
    EngineOptions mixed =
        exact.withDevice(exact.device().withNumerics(DeviceOptions.Numerics.MIXED));
    assertThat(
            FingerprintParts.differences(
                fingerprint(exact), fingerprint(exact.withKvPrecision(KvPrecision.INT8))))
        .containsExactly("kv_dtype");
    assertThat(fingerprint(mixed.withKvPrecision(KvPrecision.INT8))).isEqualTo(fingerprint(mixed));
  }

  private static String fingerprint(EngineOptions options) {
    try (ModelRunner runner = load(options)) {
      return runner.model().fingerprint();
    }
  }

  @ParameterizedTest(name = "declared {0}, stored {1}")
  @CsvSource({
    "null, FLOAT32, FLOAT32",
    "null, BFLOAT16, BFLOAT16",
    "null, FLOAT16, FLOAT32",
    "'\"bfloat16\"', FLOAT32, BFLOAT16",
    "'\"float32\"', BFLOAT16, FLOAT32",
    "'\"float16\"', FLOAT16, FLOAT32",
  })
  void autoPrecisionIsTheDeclaredElseTheStoredDtype(String declared, DType stored, DType runs)
      throws IOException {
    Path model = new TinyModel().with("dtype", declared).withDtype(stored).write(directory);
    try (Loaded loaded =
        new Loaded(Loaded.options(model, Precision.AUTO, 2).withContextLength(64))) {
      assertThat(loaded.runner.model().kvDtype()).isEqualTo(runs);
      assertThat(loaded.new Sequence(4).feed(1, 2, 3)).doesNotContain(Float.NaN).hasSize(40);
    }
  }

  @Test
  void everyFailureIsOneEngineExceptionAndClosesTheDevice() throws IOException {
    Path good = new TinyModel().write(directory.resolve("good"));
    Path torn = new TinyModel().write(directory.resolve("torn"));
    Files.write(torn.resolve("model.safetensors"), new byte[100]);
    Path misshaped =
        new TinyModel()
            .withTensor("model.norm.weight", List.of(1))
            .write(directory.resolve("misshaped"));
    EngineOptions options = EngineOptions.of(good);
    fails(EngineOptions.of(directory.resolve("absent")), Kind.BAD_MODEL, "expected: a directory");
    fails(EngineOptions.of(torn), Kind.BAD_MODEL, "header length");
    fails(EngineOptions.of(misshaped), Kind.BAD_MODEL, "model.norm.weight: shape [1]");
    fails(options.withTensorParallel(8), Kind.INVALID, "num_attention_heads, 4");
    fails(options.withContextLength(65), Kind.INVALID, "contextLength: 65 (expected: <= 64");
    fails(options.withKvCacheBytes(10), Kind.INVALID, "kvCacheBytes: 10 ");
    fails(options.withKvCacheBytes(1L << 50), Kind.NO_CAPACITY, "KV 1048576.0 GiB");
  }

  @ParameterizedTest
  @CsvSource({
    "model.layers.1.mlp.down_proj.weight, 51, '[1, 7]', NaN",
    "model.layers.0.mlp.up_proj.weight, 1407, '[43, 31]', Infinity",
    "model.embed_tokens.weight, 0, '[0, 0]', -Infinity",
    "lm_head.weight, 70, '[2, 6]', NaN",
    "model.norm.weight, 31, '[31]', NaN",
  })
  void refusesAWeightThatIsNoNumberAndSaysWhere(
      String tensor, int element, String place, float value) throws IOException {
    Path model = new TinyModel().write(directory);
    Path file = model.resolve("model.safetensors");
    byte[] bytes = Files.readAllBytes(file);
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    String header = new String(bytes, 8, (int) buffer.getLong(0), StandardCharsets.US_ASCII);
    Matcher offsets =
        Pattern.compile(
                "\"%s\":\\{[^}]*\"data_offsets\":\\[(\\d+)".formatted(Pattern.quote(tensor)))
            .matcher(header);
    assertThat(offsets.find()).isTrue();
    buffer.putFloat(8 + header.length() + Integer.parseInt(offsets.group(1)) + 4 * element, value);
    Files.write(file, bytes);
    for (int ranks : new int[] {1, 2}) {
      fails(
          EngineOptions.of(model).withTensorParallel(ranks),
          Kind.BAD_MODEL,
          file
              + ": "
              + tensor
              + ": element "
              + place
              + " is infinite, 2^127 or more, or no number");
    }
  }

  @Test
  void toldMemoryIsTheLimit() throws IOException {
    Path model = new TinyModel().write(directory);
    assertThatThrownBy(
            () ->
                ModelLoader.load(
                    EngineOptions.of(model), line -> {}, ReferenceDevice.open(), 1 << 20, 0))
        .isInstanceOfSatisfying(
            EngineException.class, e -> assertThat(e.kind()).isEqualTo(Kind.NO_CAPACITY))
        .hasMessageContaining("memory: weights");
  }

  @Test
  void tellsTheProgressOfALongLoad() throws IOException {
    Path model = new TinyModel().write(directory);
    List<String> lines = new CopyOnWriteArrayList<>();
    EngineOptions options = EngineOptions.of(model).withServedName("tiny").withTensorParallel(2);
    ModelLoader.load(options, lines::add, ReferenceDevice.open(), 4L << 30, 0).close();
    assertThat(lines).hasSize(2);
    assertThat(lines.get(0)).matches("loading tiny: 1 of 2 layers, .* (bytes|.iB)/s");
    assertThat(lines.get(1)).matches("loading tiny: 2 of 2 layers, .* (bytes|.iB)/s");
    ModelLoader.load(options, lines::add, ReferenceDevice.open(), 4L << 30, Long.MAX_VALUE).close();
    assertThat(lines).hasSize(2);
  }

  @Test
  void aDeviceThatFailsAtAnyPointOfLoadingIsClosedAndLeavesNoThread() throws IOException {
    EngineOptions options =
        EngineOptions.of(new TinyModel().write(directory)).withTensorParallel(2);
    // 2 layers of 7 matrices, two of which are packed together, and an output layer, for 2 ranks;
    // then 2 caches.
    int works = 2 * (2 * 6 + 1) + 2;
    for (int before = 0; before < works; before++) {
      fails(options, before, new OutOfDeviceMemoryException("full"), Kind.NO_CAPACITY, "full");
      fails(options, before, new IllegalStateException("odd"), Kind.INTERNAL, "odd");
    }
    ModelLoader.load(
            options,
            line -> {},
            new FailingDevice(ReferenceDevice.open(), works, new IllegalStateException()))
        .close();
  }

  private static void fails(
      EngineOptions options, int before, RuntimeException failure, Kind kind, String reason) {
    Device inner = ReferenceDevice.open();
    assertThatThrownBy(
            () -> ModelLoader.load(options, line -> {}, new FailingDevice(inner, before, failure)))
        .isInstanceOfSatisfying(EngineException.class, e -> assertThat(e.kind()).isEqualTo(kind))
        .hasMessageContaining(reason);
    assertThatThrownBy(() -> inner.allocate(DType.FLOAT32, 1, 1))
        .isInstanceOf(IllegalStateException.class);
  }

  private static void fails(EngineOptions options, Kind kind, String reason) {
    Device device = ReferenceDevice.open();
    assertThatThrownBy(() -> ModelLoader.load(options, line -> {}, device))
        .isInstanceOfSatisfying(EngineException.class, e -> assertThat(e.kind()).isEqualTo(kind))
        .hasMessageContaining(reason);
    assertThatThrownBy(() -> device.allocate(DType.FLOAT32, 1, 1))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void refusesABatchThatItCannotRunAndGoesOn() throws IOException {
    Path model = new TinyModel().write(directory);
    try (ModelRunner runner = load(EngineOptions.of(model).withMaxSessions(1))) {
      runner.batch().begin();
      runner.batch().seal();
      assertThatThrownBy(runner::run).hasMessageContaining("batch: empty");
      runner.batch().begin();
      // One row of the session, and the rows of prompts that a step may score.
      int tooMany = 1 + 32 + 1;
      runner.batch().addSequence(new int[] {0, 1}, 2);
      for (int position = 0; position < tooMany; position++) {
        runner.batch().addToken(1, position, true);
      }
      runner.batch().seal();
      assertThatThrownBy(runner::run).hasMessageContaining("34 rows that need logits");
      runner.batch().begin();
      runner.batch().addSequence(new int[] {0}, 1);
      runner.batch().addToken(1, 0, false);
      runner.batch().seal();
      assertThat(runner.run().byteSize()).isZero();
    }
  }

  @Test
  void aFailedStepLeavesTheRunnerUnusable() throws IOException {
    Path model = new TinyModel().write(directory);
    try (ModelRunner runner = load(EngineOptions.of(model).withTensorParallel(2))) {
      runner.batch().begin();
      runner.batch().addSequence(new int[] {0}, 1);
      runner.batch().addToken(40, 0, true);
      runner.batch().seal();
      assertThatThrownBy(runner::run)
          .isInstanceOfSatisfying(
              EngineException.class, e -> assertThat(e.kind()).isEqualTo(Kind.INTERNAL))
          .hasMessageContaining("tokenId: 40");
      assertThatThrownBy(runner::run)
          .isInstanceOf(EngineException.class)
          .hasMessageContaining("unusable");
    }
  }

  @Test
  void refusesKvThatTheModelDoesNotHave() throws IOException {
    Path model = new TinyModel().write(directory);
    try (ModelRunner runner = load(EngineOptions.of(model));
        Arena arena = Arena.ofConfined()) {
      MemorySegment slab = arena.allocate(1 << 20);
      int[] blocks = {0};
      assertThatThrownBy(
              () -> runner.packKv(blocks, new SlabRegion(0, 3, 0, 2, 0, 1, 8, DType.FLOAT32), slab))
          .hasMessageContaining("within 2 layers, 2 KV heads of 8");
      assertThatThrownBy(
              () ->
                  runner.unpackKv(
                      blocks,
                      new SlabRegion(0, 2, 0, 2, 0, 1, 8, DType.FLOAT32),
                      slab.asSlice(0, 255)))
          .hasMessageContaining("slab: 255 bytes (expected: >= 256)");
      runner.packKv(blocks, new SlabRegion(0, 2, 0, 2, 0, 1, 8, DType.FLOAT32), slab);
    }
  }

  @Test
  void aClosedRunnerRefusesAllAndClosesOnce() throws IOException {
    ModelRunner runner = load(EngineOptions.of(new TinyModel().write(directory)));
    runner.batch().begin();
    runner.batch().addSequence(new int[] {0}, 1);
    runner.batch().addToken(1, 0, true);
    runner.batch().seal();
    runner.close();
    runner.close();
    assertThatThrownBy(runner::run).isInstanceOf(RuntimeException.class);
    assertThatThrownBy(
            () ->
                runner.packKv(
                    new int[] {0},
                    new SlabRegion(0, 2, 0, 2, 0, 1, 8, DType.FLOAT32),
                    MemorySegment.ofArray(new byte[256])))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("closed");
  }

  private static ModelRunner load(EngineOptions options) {
    return ModelLoader.load(options, line -> {}, ReferenceDevice.open());
  }
}
