package dev.baton.engine.model;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.Device;
import dev.baton.device.WeightFormat;
import dev.baton.device.cpu.CpuDevice;
import dev.baton.device.cpu.Tier;
import dev.baton.device.reference.ReferenceDevice;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Precision;
import dev.baton.engine.Quantization;
import dev.baton.engine.checkpoint.ConfigReader;
import dev.baton.engine.checkpoint.Seed;
import dev.baton.engine.checkpoint.TinyModel;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Promise 3 at the level of logits and KV: the number of ranks, the cut into chunks, the company in
 * the batch and the block size change no bit.
 */
class SameBitsTest {

  private static final int PROMPT = 75;
  private static final int DECODED = 6;

  @TempDir static Path directory;

  private Random random;

  @BeforeEach
  void seed() {
    random = Seed.random("same bits");
  }

  /** What a run computed: all of it must be equal, bit for bit. */
  private record Trace(List<float[]> logits, byte[] kv) {

    void requireSame(Trace other, String how) {
      for (int i = 0; i < logits.size(); i++) {
        assertThat(bits(other.logits.get(i)))
            .as("%s, logits %d", how, i)
            .isEqualTo(bits(logits.get(i)));
      }
      assertThat(other.kv).as("%s, KV", how).isEqualTo(kv);
    }

    private static int[] bits(float[] values) {
      return IntStream.range(0, values.length)
          .map(i -> Float.floatToRawIntBits(values[i]))
          .toArray();
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = Precision.class,
      names = {"FLOAT32", "BFLOAT16"})
  void anyNumberOfRanksComputesTheSame(Precision precision) throws IOException {
    for (Path model : and(families(), gqa(), stories(), replicas(), odd(), mixed())) {
      Trace first = null;
      for (int ranks : degrees(model)) {
        Trace trace = alone(Loaded.options(model, precision, ranks), PROMPT);
        if (first == null) {
          first = trace;
        }
        first.requireSame(trace, model.getFileName() + " TP " + ranks);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = Precision.class,
      names = {"FLOAT32", "BFLOAT16"})
  void anyChunkSizeComputesTheSame(Precision precision) {
    for (Path model : and(families(), gqa())) {
      EngineOptions options = Loaded.options(model, precision, 2);
      Trace whole = alone(options, PROMPT);
      for (int chunk : new int[] {1, 7, 16, 64}) {
        whole.requireSame(alone(options, chunk), model + " in chunks of " + chunk);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = Precision.class,
      names = {"FLOAT32", "BFLOAT16"})
  void anyBlockSizeComputesTheSame(Precision precision) {
    EngineOptions options = Loaded.options(gqa(), precision, 2);
    Trace first = alone(options, 20);
    for (int blockTokens : new int[] {64, 96, 128}) {
      first.requireSame(
          alone(options.withBlockTokens(blockTokens), 20), "blocks of " + blockTokens);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = Precision.class,
      names = {"FLOAT32", "BFLOAT16"})
  void companyInTheBatchChangesNothing(Precision precision) {
    for (Path model : and(families(), gqa())) {
      for (int ranks : List.of(1, degrees(model).getLast())) {
        EngineOptions options = Loaded.options(model, precision, ranks);
        alone(options, PROMPT).requireSame(crowded(options), model + ", 15 others, TP " + ranks);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = Precision.class,
      names = {"FLOAT32", "BFLOAT16"})
  void kvMovesBetweenAnyNumbersOfRanks(Precision precision) throws IOException {
    for (Path model : List.of(gqa(), replicas())) {
      Trace first = alone(Loaded.options(model, precision, 1), PROMPT);
      for (int from : new int[] {1, 2, 4, 8}) {
        for (int to : new int[] {1, 2, 4, 8}) {
          Trace moved =
              moved(
                  Loaded.options(model, precision, from),
                  Loaded.options(model, precision, to).withBlockTokens(from > to ? 64 : 32));
          first.requireSame(moved, "%s TP %d to %d".formatted(model.getFileName(), from, to));
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = Precision.class,
      names = {"FLOAT32", "BFLOAT16"})
  void theNativeKernelsComputeWhatTheJavaReferenceComputes(Precision precision) throws IOException {
    for (Path model : and(families(), gqa(), stories(), replicas(), odd(), mixed())) {
      EngineOptions options = Loaded.options(model, precision, 2);
      alone(options, 30, ReferenceDevice.open())
          .requireSame(alone(options, 30, CpuDevice.open()), model + " against the reference");
    }
  }

  @ParameterizedTest
  @EnumSource(WeightFormat.class)
  void everyTierAndNumberOfRanksComputesTheSameInEveryFormat(WeightFormat format)
      throws IOException {
    for (Path model : and(families(), gqa(), replicas(), odd(), mixed())) {
      EngineOptions options =
          Loaded.options(model, precision(format), 1).withQuantization(quantization(format));
      Map<String, Trace> firsts = new HashMap<>();
      for (String tier : Tier.running()) {
        if (tier.equals("reference")) {
          continue;
        }
        for (int ranks : degrees(model)) {
          Device device = Tier.open(tier);
          // A mixture's router is never quantized.
          String numerics = device.numerics(format) + device.numerics(plain(format));
          Trace trace = alone(options.withTensorParallel(ranks), PROMPT, device);
          firsts.putIfAbsent(numerics, trace);
          requireNonNull(firsts.get(numerics))
              .requireSame(trace, "%s, %s, TP %d".formatted(model.getFileName(), tier, ranks));
        }
      }
    }
  }

  private static WeightFormat plain(WeightFormat format) {
    return format == WeightFormat.FLOAT32 ? WeightFormat.FLOAT32 : WeightFormat.BFLOAT16;
  }

  private static Precision precision(WeightFormat format) {
    return format == WeightFormat.FLOAT32 ? Precision.FLOAT32 : Precision.BFLOAT16;
  }

  private static Quantization quantization(WeightFormat format) {
    return switch (format) {
      case FLOAT32, BFLOAT16 -> Quantization.NONE;
      case INT8 -> Quantization.INT8;
      case INT4 -> Quantization.INT4;
    };
  }

  @Test
  void packingDuringStepsOfOthersTakesTheSameBytes() throws InterruptedException {
    EngineOptions options = Loaded.options(gqa(), Precision.BFLOAT16, 2);
    try (Loaded loaded = new Loaded(options)) {
      Loaded.Sequence still = loaded.new Sequence(PROMPT);
      still.prefill(prompt(options, 0), PROMPT);
      byte[] kv = still.kv();
      AtomicInteger different = new AtomicInteger();
      AtomicBoolean stop = new AtomicBoolean();
      CountDownLatch packed = new CountDownLatch(20);
      Thread packer =
          Thread.ofPlatform()
              .start(
                  () -> {
                    while (!stop.get()) {
                      different.addAndGet(Arrays.equals(kv, still.kv()) ? 0 : 1);
                      packed.countDown();
                    }
                  });
      Loaded.Sequence moving = loaded.new Sequence(250);
      for (int i = 0; i < 250 || packed.getCount() > 0; i++) {
        moving.computed %= 250;
        moving.feed(5);
      }
      stop.set(true);
      packer.join();
      assertThat(different).hasValue(0);
    }
  }

  private static int[] prompt(EngineOptions options, int which) {
    int vocabulary = options.modelDirectory().equals(directory.resolve("odd")) ? 41 : 512;
    return new Random(which).ints(PROMPT, 3, vocabulary).toArray();
  }

  /** Prefill in chunks, then greedy decode. */
  private static Trace alone(EngineOptions options, int chunk) {
    return alone(options, chunk, CpuDevice.open());
  }

  private static Trace alone(EngineOptions options, int chunk, Device device) {
    try (Loaded loaded = new Loaded(options, device)) {
      Loaded.Sequence sequence = loaded.new Sequence(PROMPT + DECODED);
      return decode(sequence, sequence.prefill(prompt(options, 0), chunk));
    }
  }

  private static Trace decode(Loaded.Sequence sequence, float[] first) {
    List<float[]> logits = new ArrayList<>(List.of(first));
    for (int i = 0; i < DECODED; i++) {
      logits.add(sequence.feed(Loaded.argmax(logits.getLast())));
    }
    return new Trace(logits, sequence.kv());
  }

  /** Prefills on one runner, hands the KV over, decodes on another. */
  private static Trace moved(EngineOptions from, EngineOptions to) {
    byte[] kv;
    float[] first;
    try (Loaded loaded = new Loaded(from)) {
      Loaded.Sequence sequence = loaded.new Sequence(PROMPT);
      first = sequence.prefill(prompt(from, 0), 32);
      kv = sequence.kv();
    }
    try (Loaded loaded = new Loaded(to)) {
      Loaded.Sequence sequence = loaded.new Sequence(PROMPT + DECODED);
      sequence.receive(kv, PROMPT);
      return decode(sequence, first);
    }
  }

  /** The same run, with 15 others at all stages in the same steps and at a place that changes. */
  private Trace crowded(EngineOptions options) {
    try (Loaded loaded = new Loaded(options)) {
      Loaded.Sequence own = loaded.new Sequence(PROMPT + DECODED);
      List<Loaded.Sequence> others =
          IntStream.range(0, 15).mapToObj(i -> loaded.new Sequence(PROMPT)).toList();
      int[] prompt = prompt(options, 0);
      List<float[]> logits = new ArrayList<>();
      while (logits.size() <= DECODED) {
        int chunk = Math.min(1 + random.nextInt(30), PROMPT - own.computed);
        int[] next =
            own.computed < PROMPT
                ? Arrays.copyOfRange(prompt, own.computed, own.computed + chunk)
                : new int[] {Loaded.argmax(logits.getLast())};
        int place = random.nextInt(others.size() + 1);
        int row = 0;
        int ownRow = 0;
        loaded.runner.batch().begin();
        for (int i = 0; i <= others.size(); i++) {
          if (i == place) {
            ownRow = row++;
            own.add(next);
          }
          if (i < others.size() && others.get(i).computed < PROMPT) {
            Loaded.Sequence other = others.get(i);
            int length = Math.min(1 + random.nextInt(12), PROMPT - other.computed);
            int[] tokens = prompt(options, 1 + i);
            other.add(Arrays.copyOfRange(tokens, other.computed, other.computed + length));
            row++;
          }
        }
        float[] mine = loaded.step().get(ownRow);
        if (own.computed >= PROMPT) {
          logits.add(mine);
        }
      }
      return new Trace(logits, own.kv());
    }
  }

  /** One small model of each other family. */
  private static List<Path> families() {
    return Stream.of("mistral-window", "qwen2", "qwen3", "mixtral", "qwen3-moe")
        .map(Loaded.GOLDEN::resolve)
        .toList();
  }

  private static List<Path> and(List<Path> models, Path... more) {
    return Stream.concat(models.stream(), Stream.of(more)).toList();
  }

  /** The numbers of ranks that the model's heads allow. */
  private static List<Integer> degrees(Path model) {
    int heads = ConfigReader.read(model).heads();
    return Stream.of(1, 2, 4, 8).filter(ranks -> heads % ranks == 0).toList();
  }

  private static Path gqa() {
    return Loaded.GOLDEN.resolve("llama-gqa");
  }

  private static Path stories() {
    return Loaded.STORIES;
  }

  /** More ranks than KV heads, and an inner width that 8 does not divide. */
  private static Path replicas() throws IOException {
    return new TinyModel()
        .with("vocab_size", 512)
        .with("num_attention_heads", 8)
        .with("num_key_value_heads", 2)
        .with("intermediate_size", 61)
        .with("max_position_embeddings", 256)
        .write(directory.resolve("replicas"));
  }

  /** Dense layers between mixtures, and inner widths that 8 does not divide. */
  private static Path mixed() throws IOException {
    return new TinyModel()
        .with("architectures", "[\"Qwen3MoeForCausalLM\"]")
        .with("vocab_size", 512)
        .with("num_hidden_layers", 3)
        .with("num_attention_heads", 8)
        .with("num_key_value_heads", 2)
        .with("intermediate_size", 61)
        .with("num_experts", 11)
        .with("num_experts_per_tok", 4)
        .with("moe_intermediate_size", 29)
        .with("mlp_only_layers", "[1]")
        .with("max_position_embeddings", 256)
        .write(directory.resolve("mixed"));
  }

  /** Nothing is a multiple of anything: 6 heads of 10, 3 KV heads of their own, 41 tokens. */
  private static Path odd() throws IOException {
    return new TinyModel()
        .with("vocab_size", 41)
        .with("hidden_size", 37)
        .with("head_dim", 10)
        .with("num_attention_heads", 6)
        .with("num_key_value_heads", 6)
        .with("intermediate_size", 59)
        .with("max_position_embeddings", 256)
        .with("tie_word_embeddings", true)
        .write(directory.resolve("odd"));
  }
}
