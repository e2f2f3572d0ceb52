package dev.baton.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.engine.EngineException;
import dev.baton.engine.Formats;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Precision;
import dev.baton.engine.Quantization;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/** Whole runs on a very small shape. */
class EngineBenchTest {

  static final List<String> NAMED = Shape.NAMED;

  private static BenchReport run(BenchPlan plan, List<String> progress) {
    return EngineBench.run(plan, progress::add, 1 << 20, 1_000_000);
  }

  private static BenchPlan plan(String shape, List<FormatChoice> formats, List<Integer> ranks) {
    return new BenchPlan(
        shape, formats, ranks, List.of(40), 3, List.of(0, 33), List.of(1, 5), 2, 0, 16, 0, null);
  }

  @Test
  void measuresEveryWorkloadOnEveryConfiguration() {
    List<String> progress = new ArrayList<>();
    BenchPlan plan =
        plan(
            "stories260k",
            FormatChoice.combinations(
                List.of(Precision.FLOAT32, Precision.BFLOAT16),
                List.of(Quantization.NONE),
                List.of(KvPrecision.AUTO)),
            List.of(1, 2));
    BenchReport report = run(plan, progress);
    assertThat(report.configurations()).hasSize(4);
    for (BenchReport.Configuration each : report.configurations()) {
      assertThat(each.results())
          .extracting(result -> result.workload().name())
          .containsExactly(
              "prefill 40",
              "decode x1 at 0",
              "decode x5 at 0",
              "decode x1 at 33",
              "decode x5 at 33");
      assertThat(each.results())
          .allSatisfy(
              result -> {
                assertThat(result.measurements()).hasSize(2);
                assertThat(result.median()).isPositive();
                assertThat(result.share()).isPositive();
              });
    }
    assertThat(report.configurations().getLast().formats()).isEqualTo(Formats.of(DType.BFLOAT16));
    assertThat(progress).contains("round 2 of 2: decode x5 at 33");
  }

  @Test
  void makesContextsOfEveryKindOfKv() {
    List<FormatChoice> formats =
        FormatChoice.combinations(
            List.of(Precision.BFLOAT16),
            List.of(Quantization.NONE),
            List.of(KvPrecision.FLOAT32, KvPrecision.BFLOAT16, KvPrecision.INT8));
    BenchReport report = run(plan("stories260k", formats, List.of(1)), new ArrayList<>());
    assertThat(report.configurations()).hasSize(3);
    for (BenchReport.Configuration each : report.configurations()) {
      assertThat(each.results().getLast().workload().name()).isEqualTo("decode x5 at 33");
      assertThat(each.results().getLast().median()).isPositive();
    }
  }

  @Test
  void countsTokensAndStepsOfTheEngine() {
    BenchReport report =
        run(plan("stories260k", List.of(FormatChoice.AUTO), List.of(1)), new ArrayList<>());
    List<Result> results = report.configurations().getFirst().results();
    // 40 tokens in chunks of 16.
    assertThat(results.getFirst().measurements())
        .allMatch(each -> each.tokens() == 40 && each.steps() == 3);
    assertThat(results.getLast().measurements())
        .allMatch(each -> each.tokens() == 15 && each.steps() == 3);
  }

  @Test
  void putsThePeerAndBusyProcessesBesideEachRound(@TempDir Path directory) {
    Path calls = directory.resolve("calls");
    String rates = "[{\"n_prompt\":40,\"n_gen\":0,\"avg_ts\":2.0}]";
    BenchPlan plan =
        new BenchPlan(
            "stories260k",
            List.of(FormatChoice.AUTO),
            List.of(1),
            List.of(40),
            2,
            List.of(0),
            List.of(1),
            3,
            0,
            0,
            1,
            "echo x >> %s; echo '%s'".formatted(calls, rates));
    List<Result> results = run(plan, new ArrayList<>()).configurations().getFirst().results();
    assertThat(results.getFirst().peer()).containsExactly(2.0, 2.0, 2.0);
    assertThat(results.getLast().hasPeer()).isFalse();
    assertThat(results.getFirst().disturbed()).hasSize(3);
    assertThat(results.getFirst().disturbedPeer()).hasSize(3);
    assertThat(calls).hasContent("x\nx\nx\nx\nx\nx");
  }

  @Test
  void takesTheShapeOfADirectoryThatHasNoWeights(@TempDir Path directory) throws IOException {
    try (Shape shape = Shape.open("stories260k")) {
      Files.copy(shape.directory().resolve("config.json"), directory.resolve("config.json"));
    }
    BenchPlan plan = plan(directory.toString(), List.of(FormatChoice.AUTO), List.of(1));
    assertThat(run(plan, new ArrayList<>()).shape()).isEqualTo(directory.getFileName().toString());
  }

  @ParameterizedTest
  @FieldSource("NAMED")
  void everyNamedShapeIsOneThatTheEngineKnows(String name) {
    Path directory;
    try (Shape shape = Shape.open(name)) {
      directory = shape.directory();
      assertThat(shape.name()).isEqualTo(name);
      assertThat(shape.config().layers()).isPositive();
    }
    assertThat(directory).doesNotExist();
  }

  @Test
  void refusesWhatTheShapeCannotRun() {
    assertThatThrownBy(() -> Shape.open("llama-9000b"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("shape: llama-9000b (expected: one of [llama-1b")
        .hasMessageContaining("or a directory with config.json");
    BenchPlan tooLong =
        new BenchPlan(
            "stories260k",
            List.of(FormatChoice.AUTO),
            List.of(1),
            List.of(8192),
            0,
            List.of(),
            List.of(),
            1,
            0,
            0,
            0,
            null);
    assertThatThrownBy(() -> run(tooLong, new ArrayList<>()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("prefill 8192: 8193 positions (expected: <= 8192");
    assertThatThrownBy(
            () ->
                run(plan("stories260k", List.of(FormatChoice.AUTO), List.of(3)), new ArrayList<>()))
        .isInstanceOfAny(IllegalArgumentException.class, EngineException.class)
        .hasMessageContaining("tensorParallel: 3");
  }

  @Test
  void aPeerThatMeasuresNothingOfTheSameIsAnErrorThatSaysWhatWasExpected() {
    BenchPlan plan =
        new BenchPlan(
            "stories260k",
            List.of(FormatChoice.AUTO),
            List.of(1),
            List.of(40),
            2,
            List.of(0),
            List.of(1),
            1,
            0,
            0,
            0,
            "echo '[{\"n_prompt\":512,\"n_gen\":0,\"avg_ts\":2.0}]'");
    assertThatThrownBy(() -> run(plan, new ArrayList<>()))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("it measured [prefill 512]")
        .hasMessageContaining("expected: some of [prefill 40, decode x1 at 0]");
  }

  @Test
  void refusesAPlanOfNothing() {
    List<FormatChoice> auto = List.of(FormatChoice.AUTO);
    List<Integer> one = List.of(1);
    List<Integer> none = List.of();
    assertThatThrownBy(
            () -> new BenchPlan("llama-1b", auto, one, none, 0, one, one, 1, 0, 0, 0, null))
        .hasMessageContaining("prefill: no length, and no decode");
    assertThatThrownBy(
            () -> new BenchPlan("llama-1b", auto, one, one, 1, one, one, 0, 0, 0, 0, null))
        .hasMessageContaining("repeat: 0 (expected: >= 1)");
    assertThatThrownBy(
            () -> new BenchPlan("llama-1b", auto, one, List.of(-5), 1, one, one, 1, 0, 0, 0, null))
        .hasMessageContaining("prefill: -5 (expected: >= 1)");
    assertThatThrownBy(
            () -> new BenchPlan("llama-1b", auto, one, none, 1, one, List.of(0), 1, 0, 0, 0, null))
        .hasMessageContaining("batch: 0 (expected: >= 1)");
    assertThatThrownBy(
            () ->
                new BenchPlan(
                    "llama-1b", auto, List.of(1, 2), one, 1, one, one, 1, 0, 0, 0, "llama-bench"))
        .hasMessageContaining("peer: with 1 formats and 2 TP degrees");
  }
}
