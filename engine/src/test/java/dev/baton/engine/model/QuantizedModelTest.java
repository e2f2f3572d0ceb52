package dev.baton.engine.model;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.Device;
import dev.baton.device.cpu.CpuDevice;
import dev.baton.device.reference.ReferenceDevice;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Precision;
import dev.baton.engine.Quantization;
import dev.baton.engine.checkpoint.ConfigReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Models with quantized matrices: the same bits in every shape, and close to what they were. */
class QuantizedModelTest {

  private static final int PROMPT = 75;
  private static final int DECODED = 6;

  /** Every golden model, of every family. */
  static Stream<Path> models() throws java.io.IOException {
    try (Stream<Path> directories = Files.list(Loaded.GOLDEN)) {
      return directories.filter(Files::isDirectory).sorted().toList().stream();
    }
  }

  private static EngineOptions options(Path model, Quantization quantization, int ranks) {
    return Loaded.options(model, Precision.AUTO, ranks).withQuantization(quantization);
  }

  /** Logits of a prompt's last token and of some greedy steps, then KV. */
  private static List<Object> trace(EngineOptions options, int chunk, Device device) {
    try (Loaded loaded = new Loaded(options, device)) {
      Loaded.Sequence sequence = loaded.new Sequence(PROMPT + DECODED);
      int[] prompt =
          new Random(7).ints(PROMPT, 3, loaded.runner.model().vocabularySize()).toArray();
      List<Object> all = new ArrayList<>();
      float[] logits = sequence.prefill(prompt, chunk);
      for (int i = 0; i < DECODED; i++) {
        all.add(Arrays.toString(logits));
        logits = sequence.feed(Loaded.argmax(logits));
      }
      all.add(Arrays.toString(sequence.kv()));
      return all;
    }
  }

  @ParameterizedTest
  @MethodSource("models")
  void ranksChunksAndTiersChangeNothing(Path model) {
    int ranks = GoldenTest.fits(ConfigReader.read(model), 2) ? 2 : 1;
    for (Quantization quantization : List.of(Quantization.INT8, Quantization.INT4)) {
      List<Object> whole = trace(options(model, quantization, 1), PROMPT, CpuDevice.open());
      assertThat(trace(options(model, quantization, ranks), 16, CpuDevice.open()))
          .as("%s %s, TP %d", model, quantization, ranks)
          .isEqualTo(whole);
      assertThat(trace(options(model, quantization, 1), 30, ReferenceDevice.open()))
          .as("%s %s, reference", model, quantization)
          .isEqualTo(whole);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = Quantization.class,
      names = {"INT8", "INT4"})
  void moreRanksThanKvHeadsChangeNothing(Quantization quantization) {
    Path model = Loaded.GOLDEN.resolve("llama-gqa");
    List<Object> whole = trace(options(model, quantization, 1), PROMPT, CpuDevice.open());
    for (int ranks : new int[] {4, 8}) {
      assertThat(trace(options(model, quantization, ranks), 7, CpuDevice.open()))
          .as("TP %d", ranks)
          .isEqualTo(whole);
    }
  }

  /** In nats per token, over random prompts of the one model here that has learnt something. */
  @ParameterizedTest
  @CsvSource({"INT8, 0.002", "INT4, 0.2"})
  void theModelSaysMuchTheSame(Quantization quantization, double most) {
    double divergence = 0;
    int tokens = 0;
    try (Loaded exact = new Loaded(options(Loaded.STORIES, Quantization.NONE, 1));
        Loaded quantized = new Loaded(options(Loaded.STORIES, quantization, 1))) {
      Loaded.Sequence of = exact.new Sequence(200);
      Loaded.Sequence other = quantized.new Sequence(200);
      int token = 1;
      for (; tokens < 200; tokens++) {
        double[] p = Loaded.logSoftmax(of.feed(token));
        double[] q = Loaded.logSoftmax(other.feed(token));
        int best = 0;
        for (int i = 0; i < p.length; i++) {
          divergence += Math.exp(p[i]) * (p[i] - q[i]);
          best = p[i] > p[best] ? i : best;
        }
        token = best;
      }
    }
    System.out.printf("%s: KL %.5f%n", quantization, divergence / tokens);
    assertThat(divergence / tokens).isBetween(0.0, most);
  }
}
