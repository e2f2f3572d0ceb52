package dev.baton.engine.model;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.EngineOptions;
import dev.baton.engine.Precision;
import dev.baton.engine.Quantization;
import dev.baton.engine.checkpoint.ConfigReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * What quantization costs: the mean Kullback-Leibler divergence of the next token's distribution
 * from that of float32, in nats, over every position of a text. The bounds are twice what was
 * measured; on random weights, which have no structure that rounding could spare, the cost is
 * higher than on trained ones.
 */
class QuantizationCostTest {

  private static final int TOKENS = 120;

  @ParameterizedTest(name = "{0}")
  @CsvSource({
    "stories260K,    0.0052, 0.512",
    "llama-gqa,      0.0012, 0.094",
    "llama3-rope,    0.0016, 0.134",
    "mistral-window, 0.0012, 0.106",
    "qwen2,          0.0004, 0.036",
    "qwen3,          0.0008, 0.074",
    "mixtral,        0.0042, 0.058",
    "qwen3-moe,      0.0008, 0.028",
  })
  void divergesFromFloat32ByLittle(String name, double int8, double int4) {
    Path model = name.equals("stories260K") ? Loaded.STORIES : Loaded.GOLDEN.resolve(name);
    int[] text = text(model);
    List<double[]> exact = distributions(model, Quantization.NONE, text);
    double atEight = divergence(exact, distributions(model, Quantization.INT8, text));
    double atFour = divergence(exact, distributions(model, Quantization.INT4, text));
    System.out.printf(
        "QuantizationCostTest %s: int8 %.5f, int4 %.5f nats%n", name, atEight, atFour);
    assertThat(atEight).as("int8").isBetween(0.0, int8);
    assertThat(atFour).as("int4").isBetween(atEight, int4);
  }

  /** What the model itself says in float32: half drawn, half greedy. */
  private static int[] text(Path model) {
    int[] text = new int[TOKENS];
    Random random = new Random(11);
    int vocabulary = ConfigReader.read(model).vocabularySize();
    try (Loaded loaded = new Loaded(options(model, Quantization.NONE))) {
      Loaded.Sequence sequence = loaded.new Sequence(TOKENS);
      text[0] = 1;
      for (int i = 1; i < TOKENS; i++) {
        int likeliest = Loaded.argmax(sequence.feed(text[i - 1]));
        text[i] = i % 2 == 0 ? likeliest : random.nextInt(3, vocabulary);
      }
    }
    return text;
  }

  private static List<double[]> distributions(Path model, Quantization quantization, int[] text) {
    List<double[]> distributions = new ArrayList<>();
    try (Loaded loaded = new Loaded(options(model, quantization))) {
      Loaded.Sequence sequence = loaded.new Sequence(TOKENS);
      for (int token : text) {
        distributions.add(Loaded.logSoftmax(sequence.feed(token)));
      }
    }
    return distributions;
  }

  private static EngineOptions options(Path model, Quantization quantization) {
    return Loaded.options(model, Precision.FLOAT32, 1).withQuantization(quantization);
  }

  private static double divergence(List<double[]> exact, List<double[]> other) {
    double sum = 0;
    for (int row = 0; row < exact.size(); row++) {
      double[] p = exact.get(row);
      for (int i = 0; i < p.length; i++) {
        sum += Math.exp(p[i]) * (p[i] - other.get(row)[i]);
      }
    }
    return sum / exact.size();
  }
}
