package dev.baton.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.WeightFormat;
import dev.baton.device.cpu.Tier;
import dev.baton.engine.checkpoint.ConfigReader;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.model.OnDevice;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every family in every format and any shape: tokens and log probabilities are those that a request
 * gets alone, on one rank, in one chunk. The product of families, formats, tiers and shapes is far
 * too large to run, so each trial draws from it. A trial replays with -Dseed= and -Dtrials=1;
 * -Dtrials=N searches on.
 */
class AnyShapeTest {

  private static final int TRIALS = Integer.getInteger("trials", 12);
  private static final int REQUESTS = 10;
  private static final int LONGEST_PROMPT = 150;
  private static final int MOST_GENERATED = 20;
  private static final int CONTEXT = LONGEST_PROMPT + MOST_GENERATED;
  private static final Path GOLDEN = Path.of("src/test/resources/golden");

  private static final List<Path> MODELS =
      Stream.concat(
              Stream.of(Path.of("../models/stories260K")),
              Stream.of(
                      "llama-gqa",
                      "llama-biases",
                      "mistral-window",
                      "qwen2",
                      "qwen3-typed",
                      "mixtral-fused",
                      "qwen3-moe")
                  .map(GOLDEN::resolve))
          .toList();

  static LongStream trials() {
    long seed = Long.getLong("seed", System.nanoTime());
    return LongStream.range(seed, seed + TRIALS);
  }

  @ParameterizedTest(name = "-Dseed={0} -Dtrials=1")
  @MethodSource("trials")
  void aRequestGetsWhatItGetsAlone(long seed) {
    Trial trial = new Trial(new Random(seed * 0x9E3779B97F4A7C15L));
    System.out.println("AnyShapeTest -Dseed=" + seed + ": " + trial);
    List<Generation> requests = trial.requests();
    Answers alone;
    try (Engine engine = trial.load(trial.plain())) {
      alone = Answers.alone(engine, requests);
    }

    EngineOptions shape = trial.shape();
    try (Engine engine = trial.load(shape)) {
      assertSame("together", shape, Answers.together(engine, requests), alone);
      assertSame("from the prefix cache", shape, Answers.together(engine, requests), alone);
    }
    EngineOptions small = trial.small();
    try (Engine engine = trial.load(small)) {
      assertSame("in a small pool", small, Answers.together(engine, requests), alone);
    }
    EngineOptions from = trial.shape().withMaxSessions(16);
    EngineOptions to = trial.shape().withMaxSessions(16);
    try (Engine exporter = trial.load(from);
        Engine importer = trial.load(to)) {
      assertSame("split", to, Answers.split(exporter, importer, requests), alone);
    }
  }

  private static void assertSame(String how, EngineOptions shape, Answers answers, Answers alone) {
    assertThat(answers.tokens()).as("%s: %s", how, shape).isEqualTo(alone.tokens());
  }

  /** What one trial draws: the model and its numbers once, a shape as often as one is asked for. */
  private static final class Trial {
    private final Random random;
    private final Path model;
    private final ModelConfig config;
    private final Precision precision;
    private final Quantization quantization;
    private final KvPrecision kvPrecision;
    private final List<String> tiers;

    Trial(Random random) {
      this.random = random;
      this.model = anyOf(MODELS);
      this.config = ConfigReader.read(model);
      this.precision = anyOf(List.of(Precision.FLOAT32, Precision.BFLOAT16));
      this.quantization = anyOf(List.of(Quantization.values()));
      this.kvPrecision =
          anyOf(List.of(KvPrecision.AUTO, KvPrecision.FLOAT32, KvPrecision.BFLOAT16));
      this.tiers = tiersThatAgree();
    }

    private <T> T anyOf(List<T> values) {
      return values.get(random.nextInt(values.size()));
    }

    /** Native ones whose arithmetic has the name of the fastest one's. */
    private List<String> tiersThatAgree() {
      DType own = config.dtype() == null ? DType.FLOAT32 : config.dtype();
      Formats formats = Formats.choose(plain(), own);
      List<String> running = new ArrayList<>(Tier.running());
      running.remove("reference");
      String first = numerics(anyOf(running), formats);
      return running.stream().filter(tier -> numerics(tier, formats).equals(first)).toList();
    }

    /** Of all products: a mixture's router is never quantized. */
    private static String numerics(String tier, Formats formats) {
      try (Device device = Tier.open(tier)) {
        return device.numerics(formats.weights())
            + device.numerics(WeightFormat.of(formats.dtype()));
      }
    }

    Engine load(EngineOptions options) {
      return OnDevice.load(options, Tier.open(anyOf(tiers)));
    }

    /** The shape of the reference. */
    EngineOptions plain() {
      return EngineOptions.of(model)
          .withPrecision(precision)
          .withQuantization(quantization)
          .withKvPrecision(kvPrecision)
          .withContextLength(CONTEXT)
          .withMaxSessions(1)
          .withKvCacheBytes(32L << 20)
          .withPrefillChunk(512);
    }

    EngineOptions shape() {
      List<Integer> ranks =
          Stream.of(1, 2, 4)
              .filter(n -> config.heads() % n == 0)
              .filter(n -> config.kvHeads() % n == 0 || n % config.kvHeads() == 0)
              .toList();
      return plain()
          .withTensorParallel(anyOf(ranks))
          .withBlockTokens(anyOf(List.of(32, 64, 96)))
          .withPrefillChunk(anyOf(List.of(1, 16, 17, 64, 100, 512)))
          .withStepTokens(anyOf(List.of(8, 33, 128, 512)))
          .withMaxSessions(anyOf(List.of(1, 3, 16)));
    }

    /** Room for little more than two sessions, on one rank. */
    EngineOptions small() {
      long tokenBytes = 2L * config.layers() * config.kvHeads() * config.headDim() * Float.BYTES;
      return shape()
          .withTensorParallel(1)
          .withMaxSessions(16)
          .withBlockTokens(32)
          .withKvCacheBytes(2 * (CONTEXT + 32) * tokenBytes);
    }

    List<Generation> requests() {
      int vocabulary = config.vocabularySize();
      int[] stem = random.ints(LONGEST_PROMPT, 3, vocabulary).toArray();
      List<Generation> requests = new ArrayList<>();
      for (int i = 0; i < REQUESTS; i++) {
        int length = 1 + random.nextInt(LONGEST_PROMPT);
        int[] prompt = random.ints(length, 3, vocabulary).toArray();
        if (i % 3 == 0) {
          System.arraycopy(stem, 0, prompt, 0, length * 3 / 4);
        }
        Sampling sampling =
            new Sampling(
                1 + random.nextInt(MOST_GENERATED),
                i % 2 == 0 ? 0f : 1f,
                i % 4 == 1 ? 40 : 0,
                i % 3 == 1 ? 0.9f : 1f,
                random.nextLong(),
                random.nextInt(-1, 5),
                i % 5 != 0,
                List.of());
        requests.add(Generation.of(new SessionId("r" + i, 1), prompt, sampling));
      }
      return requests;
    }

    @Override
    public String toString() {
      return "%s, %s, weights %s, KV %s, tiers %s"
          .formatted(model.getFileName(), precision, quantization, kvPrecision, tiers);
    }
  }
}
