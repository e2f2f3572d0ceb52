package dev.baton.engine.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.baton.device.Device;
import dev.baton.device.cpu.CpuDevice;
import dev.baton.device.cuda.CudaDevice;
import dev.baton.device.cuda.CudaOptions;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Precision;
import dev.baton.engine.Quantization;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The kernels of GPUs, run on the CPU: against the answers of Hugging Face transformers, and
 * against themselves in other shapes. {@link GoldenCheck} runs all families, also on GPUs.
 */
class EmulatedCudaTest {

  /** A GPU's memory here is this process's own. */
  private static final double UTILIZATION = 0.05;

  /** A step that decodes gives about this in bfloat16, CPU against GPU. */
  private static final double CLOSE = 5e-2;

  private static final Path MODEL = Loaded.GOLDEN.resolve("llama-bare");
  private static final int[] PROMPT = {3, 14, 15, 9, 2, 6, 5, 35, 8, 9, 7, 9, 32, 38, 46, 26, 4};
  private static final int[] MORE = {33, 8, 32};

  static Device open(int ranks, boolean graphs) {
    return open(Collections.nCopies(ranks, 0), graphs);
  }

  /** A rank on each of these GPUs. */
  private static Device open(List<Integer> gpus, boolean graphs) {
    return CudaDevice.open(new CudaOptions(true, gpus, UTILIZATION, graphs), gpus.size());
  }

  private static EngineOptions options(int ranks) {
    return options(ranks, KvPrecision.AUTO);
  }

  private static EngineOptions options(int ranks, KvPrecision kv) {
    return Loaded.options(MODEL, Precision.BFLOAT16, ranks)
        .withKvCacheBytes(1 << 20)
        .withKvPrecision(kv);
  }

  /** One of each kind: biases, head norms and windows, mixtures, tied embeddings, few columns. */
  @ParameterizedTest(name = "{0}, TP {1}, KV {2}")
  @CsvSource({
    "llama-bare, 1, BFLOAT16",
    "llama-bare, 1, INT8",
    "llama-biases, 2, BFLOAT16",
    "llama-narrow, 1, BFLOAT16",
    "qwen2-window, 1, BFLOAT16",
    "qwen2-window, 2, INT8",
    "mixtral-fused, 1, BFLOAT16"
  })
  void agreesWithTransformers(String name, int ranks, KvPrecision kv) {
    GoldenTest.compareAll(
        Loaded.GOLDEN.resolve(name), Precision.BFLOAT16, kv, ranks, 64, open(ranks, true));
  }

  @ParameterizedTest
  @EnumSource(names = {"BFLOAT16", "INT8"})
  void givesTheSameBitsInChunksOnRanksAndRecorded(KvPrecision kv) {
    float[][] plain = run(List.of(0), kv, false, 64);
    assertThat(run(List.of(0), kv, true, 5)).isDeepEqualTo(plain);
    assertThat(run(List.of(0, 0), kv, true, 7)).isDeepEqualTo(plain);
    assertThat(run(List.of(1, 0), kv, true, 6)).isDeepEqualTo(plain);
  }

  @Test
  void hasTheCpusLogitsOverKvInEightBits() {
    float[][] own = run(List.of(0), KvPrecision.INT8, true, 64);
    float[][] wide = run(List.of(0), KvPrecision.BFLOAT16, true, 64);
    assertThat(own[MORE.length]).as("rounded").isNotEqualTo(wide[MORE.length]);
    try (Loaded cpu = new Loaded(options(1, KvPrecision.INT8), CpuDevice.open())) {
      float[][] expected = logits(cpu, 64);
      for (int i = 0; i < own.length; i++) {
        assertClose(own[i], expected[i]);
      }
    }
  }

  private static void assertClose(float[] logits, float[] expected) {
    double[] own = Loaded.logSoftmax(logits);
    double[] theirs = Loaded.logSoftmax(expected);
    for (int i = 0; i < own.length; i++) {
      assertThat(own[i]).isCloseTo(theirs[i], within(CLOSE));
    }
  }

  /** Logits after the prompt and after each of some more tokens. */
  private static float[][] run(List<Integer> gpus, KvPrecision kv, boolean graphs, int chunk) {
    try (Loaded loaded = new Loaded(options(gpus.size(), kv), open(gpus, graphs))) {
      return logits(loaded, chunk);
    }
  }

  private static float[][] logits(Loaded loaded, int chunk) {
    Loaded.Sequence sequence = loaded.new Sequence(PROMPT.length + MORE.length);
    float[][] logits = new float[MORE.length + 1][];
    logits[0] = sequence.prefill(PROMPT, chunk);
    for (int i = 0; i < MORE.length; i++) {
      logits[i + 1] = sequence.feed(MORE[i]);
    }
    return logits;
  }

  @ParameterizedTest
  @EnumSource(names = {"BFLOAT16", "INT8"})
  void goesOnFromKvOfOtherRanksWithTheSameBitsAndFromTheCpusAsFarAsBfloat16Goes(KvPrecision kv) {
    float[][] whole = run(List.of(0), kv, true, 64);
    byte[] ofTwo = prefilled(2, kv, open(2, true));
    byte[] ofCpu = prefilled(1, kv, CpuDevice.open());
    try (Loaded loaded = new Loaded(options(1, kv), open(1, true))) {
      assertThat(decoded(loaded, ofTwo)).isEqualTo(whole[1]);
      assertClose(decoded(loaded, ofCpu), whole[1]);
    }
  }

  private static byte[] prefilled(int ranks, KvPrecision kv, Device device) {
    try (Loaded loaded = new Loaded(options(ranks, kv), device)) {
      Loaded.Sequence sequence = loaded.new Sequence(PROMPT.length);
      sequence.prefill(PROMPT, 64);
      return sequence.kv();
    }
  }

  private static float[] decoded(Loaded loaded, byte[] kv) {
    Loaded.Sequence sequence = loaded.new Sequence(PROMPT.length + 1);
    sequence.receive(kv, PROMPT.length);
    return sequence.feed(MORE[0]);
  }

  @Test
  void refusesWhatGpusHaveNoKernelsForByName() {
    assertThatThrownBy(
            () ->
                ModelLoader.load(
                    options(1).withQuantization(Quantization.INT8), line -> {}, open(1, true)))
        .isInstanceOf(EngineException.class)
        .hasMessageContaining("weights: INT8 on this device (expected: BFLOAT16");
    assertThatThrownBy(
            () ->
                ModelLoader.load(
                    options(1).withPrecision(Precision.FLOAT32), line -> {}, open(1, true)))
        .hasMessageContaining("weights: FLOAT32 on this device");
    assertThatThrownBy(
            () -> ModelLoader.load(options(1, KvPrecision.FLOAT32), line -> {}, open(1, true)))
        .hasMessageContaining("KV: FLOAT32 on this device (expected: BFLOAT16 or INT8");
  }

  @Test
  void refusesWithTheSumsWhatDoesNotFitTheGpu() {
    Device small = CudaDevice.open(new CudaOptions(true, Collections.nCopies(1, 0), 1e-4, true), 1);
    assertThatThrownBy(() -> ModelLoader.load(options(1), line -> {}, small))
        .isInstanceOfSatisfying(
            EngineException.class,
            e -> assertThat(e.kind()).isEqualTo(EngineException.Kind.NO_CAPACITY))
        .hasMessageContaining("+ workspace");
  }
}
