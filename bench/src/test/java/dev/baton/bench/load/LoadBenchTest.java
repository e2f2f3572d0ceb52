package dev.baton.bench.load;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.bench.FormatChoice;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** On the small model of the repository. */
class LoadBenchTest {

  private static final Path MODEL = Path.of("../models/stories260K");

  @Test
  void loadsAsOftenAsAskedAndTellsTimeAndMemory() throws IOException {
    LoadPlan plan = new LoadPlan(MODEL, FormatChoice.AUTO, 1, 64, 0, 2);
    LoadReport report = LoadBench.run(plan, line -> {});
    assertThat(report.rounds())
        .hasSize(2)
        .allSatisfy(
            round -> {
              assertThat(round.seconds()).isPositive();
              assertThat(round.anonymousPeak()).isGreaterThanOrEqualTo(round.after());
            });
    assertThat(report.fileBytes()).isEqualTo(Files.size(MODEL.resolve("model.safetensors")));
    // 260,000 parameters, and the embedding a second time.
    assertThat(report.weightBytes()).isBetween(1_000_000L, 1_400_000L);
    assertThat(report.kvBytes()).isPositive();
    assertThat(report.text()).contains("| peak share |", "stories260K, weights float32");
    JsonNode json = JsonMapper.shared().readTree(report.json());
    assertThat(json.get("loads").size()).isEqualTo(2);
  }

  @Test
  void refusesAPlanOfNothing() {
    assertThatThrownBy(() -> new LoadPlan(MODEL, FormatChoice.AUTO, 1, 0, 0, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("repeat: 0");
  }
}
