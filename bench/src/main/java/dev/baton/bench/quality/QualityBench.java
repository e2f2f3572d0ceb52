package dev.baton.bench.quality;

import dev.baton.bench.FormatChoice;
import dev.baton.bench.ModelMemory;
import dev.baton.device.DType;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Formats;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Precision;
import dev.baton.engine.Quantization;
import dev.baton.engine.checkpoint.Checkpoint;
import dev.baton.engine.checkpoint.ConfigReader;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.checkpoint.TensorNames;
import dev.baton.engine.model.ModelLoader;
import dev.baton.engine.model.ModelRunner;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * {@code baton bench quality}: for each format runs that engine and the float32 one side by side
 * over the same prompts, both forced to the prompts' tokens, and compares their distributions at
 * every position. Two models are in memory at a time, never more: the reference is computed anew
 * for every format, which costs time instead of the room for all its logits.
 */
public final class QualityBench {

  /** Tokens of a step; every one gets logits. */
  private static final int CHUNK = 64;

  private static final FormatChoice REFERENCE =
      new FormatChoice(Precision.FLOAT32, Quantization.NONE, KvPrecision.FLOAT32);

  private final QualityPlan plan;
  private final Consumer<String> progress;
  private final ModelConfig config;
  private final DType stored;
  private final List<int[]> prompts;
  private final int longest;

  private QualityBench(QualityPlan plan, Consumer<String> progress) throws IOException {
    this.plan = plan;
    this.progress = progress;
    this.config = ConfigReader.read(plan.model());
    this.stored = stored();
    int most = plan.longest() == 0 ? config.contextLength() : plan.longest();
    this.prompts =
        Prompts.read(
            plan.model(),
            plan.source(),
            config.vocabularySize(),
            Math.min(most, config.contextLength()));
    this.longest = prompts.stream().mapToInt(prompt -> prompt.length).max().orElseThrow();
  }

  /**
   * Runs a plan on the calling thread. Throws IllegalArgumentException for prompts that do not suit
   * the model, EngineException when a model cannot be loaded, TextModelException when its tokenizer
   * cannot.
   *
   * @param progress hears what is being done; called on the calling thread
   */
  public static QualityReport run(QualityPlan plan, Consumer<String> progress) throws IOException {
    return new QualityBench(plan, progress).run();
  }

  private DType stored() {
    @Nullable DType declared = config.dtype();
    if (declared != null) {
      return declared;
    }
    try (Checkpoint checkpoint = Checkpoint.open(plan.model(), config)) {
      return checkpoint.get(TensorNames.EMBEDDING).dtype();
    }
  }

  private QualityReport run() {
    List<QualityReport.Row> rows = new ArrayList<>();
    try (TeacherForcing reference = load(REFERENCE, "float32")) {
      for (FormatChoice choice : plan.formats()) {
        Formats formats = Formats.choose(choice.in(EngineOptions.of(plan.model())), stored);
        String name =
            "weights %s, KV %s".formatted(formats.weights(), formats.kv()).toLowerCase(Locale.ROOT);
        try (TeacherForcing model = load(choice, name)) {
          rows.add(row(formats, compare(reference, model, name)));
        }
      }
      return new QualityReport(reference.runner().model().name(), prompts.size(), rows);
    }
  }

  private static QualityReport.Row row(Formats formats, Divergence found) {
    return new QualityReport.Row(
        formats,
        found.positions(),
        found.mean(),
        found.percentile99(),
        found.most(),
        found.topAgreement(),
        found.referencePerplexity(),
        found.perplexity());
  }

  private TeacherForcing load(FormatChoice choice, String name) {
    progress.accept("loading " + name);
    EngineOptions options =
        choice
            .in(EngineOptions.of(plan.model()))
            .withTensorParallel(plan.tensorParallel())
            .withStepTokens(CHUNK)
            .withPrefillChunk(CHUNK)
            .withMaxSessions(CHUNK)
            .withContextLength(longest);
    long blocks = Math.ceilDiv(longest, options.blockTokens());
    long kvBytes = ModelMemory.kvBytes(config, stored, options, blocks);
    ModelRunner runner = ModelLoader.load(options.withKvCacheBytes(kvBytes), progress);
    return new TeacherForcing(runner, longest);
  }

  private Divergence compare(TeacherForcing reference, TeacherForcing model, String name) {
    Divergence divergence = new Divergence();
    for (int i = 0; i < prompts.size(); i++) {
      progress.accept("%s: prompt %d of %d".formatted(name, i + 1, prompts.size()));
      int[] prompt = prompts.get(i);
      for (int from = 0; from < prompt.length; from += CHUNK) {
        int to = Math.min(prompt.length, from + CHUNK);
        compare(
            reference.run(prompt, from, to), model.run(prompt, from, to), prompt, from, divergence);
      }
    }
    return divergence;
  }

  /** What one position adds; a surprise of NaN says that no token follows. */
  private record Compared(Divergence.Position position, double ofReference, double ofModel) {}

  private void compare(
      MemorySegment expected, MemorySegment actual, int[] prompt, int from, Divergence into) {
    int vocabulary = config.vocabularySize();
    int rows = (int) (expected.byteSize() / Float.BYTES / vocabulary);
    List<Compared> all =
        IntStream.range(0, rows)
            .parallel()
            .mapToObj(
                row -> {
                  float[] p = row(expected, row, vocabulary);
                  float[] q = row(actual, row, vocabulary);
                  int next = from + row + 1;
                  boolean known = next < prompt.length;
                  return new Compared(
                      Divergence.compare(p, q),
                      known ? Divergence.surprise(p, prompt[next]) : Double.NaN,
                      known ? Divergence.surprise(q, prompt[next]) : Double.NaN);
                })
            .toList();
    for (Compared each : all) {
      into.add(each.position());
      if (!Double.isNaN(each.ofReference())) {
        into.addSurprise(each.ofReference(), each.ofModel());
      }
    }
  }

  private static float[] row(MemorySegment logits, int row, int vocabulary) {
    long bytes = (long) vocabulary * Float.BYTES;
    return logits.asSlice(row * bytes, bytes).toArray(ValueLayout.JAVA_FLOAT);
  }
}
