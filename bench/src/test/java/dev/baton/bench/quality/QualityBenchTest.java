package dev.baton.bench.quality;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.bench.FormatChoice;
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
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** On the small model of the repository. */
class QualityBenchTest {

  private static final Path MODEL = Path.of("../models/stories260K");

  private static final QualityPlan.Source BUILT_IN = new QualityPlan.Source.Texts(null);

  private static FormatChoice plain(Precision precision) {
    return new FormatChoice(precision, Quantization.NONE, KvPrecision.AUTO);
  }

  private static QualityReport run(QualityPlan.Source source, int longest, FormatChoice... formats)
      throws IOException {
    return QualityBench.run(
        new QualityPlan(MODEL, List.of(formats), source, 1, longest), line -> {});
  }

  @Test
  void float32DoesNotDifferFromItself() throws IOException {
    QualityReport report = run(BUILT_IN, 150, plain(Precision.FLOAT32));
    QualityReport.Row row = report.rows().getFirst();
    assertThat(report.prompts()).isEqualTo(12);
    assertThat(row.positions()).isGreaterThan(1000);
    assertThat(row.mostNats()).isZero();
    assertThat(row.topAgreement()).isEqualTo(1);
    assertThat(row.perplexity()).isEqualTo(row.referencePerplexity());
  }

  @Test
  void bfloat16DiffersALittle() throws IOException {
    List<String> progress = new ArrayList<>();
    QualityPlan plan = new QualityPlan(MODEL, List.of(plain(Precision.BFLOAT16)), BUILT_IN, 2, 100);
    QualityReport report = QualityBench.run(plan, progress::add);
    QualityReport.Row row = report.rows().getFirst();
    assertThat(row.meanNats()).isPositive().isLessThan(0.01);
    assertThat(row.percentile99Nats()).isBetween(row.meanNats(), row.mostNats());
    assertThat(row.topAgreement()).isGreaterThan(0.95);
    assertThat(progress)
        .contains("weights bfloat16, kv bfloat16: prompt 12 of 12")
        .contains("loading float32");
  }

  @Test
  void aPromptOfTokensIsRunAsItIs(@TempDir Path directory) throws IOException {
    Path file = directory.resolve("tokens");
    Files.writeString(file, "1 403, 407 261\n\n1,2,3,4,5,6,7\n5\n");
    QualityReport report = run(new QualityPlan.Source.Tokens(file), 0, plain(Precision.BFLOAT16));
    assertThat(report.prompts()).isEqualTo(2);
    assertThat(report.rows().getFirst().positions()).isEqualTo(11);
    JsonNode json = JsonMapper.shared().readTree(report.json());
    assertThat(json.get("formats").get(0).get("positions").asInt()).isEqualTo(11);
    assertThat(report.text()).contains("| weights ", "| bfloat16 |", " same top token |");
  }

  @Test
  void refusesTokensThatTheModelDoesNotHave(@TempDir Path directory) throws IOException {
    Path file = directory.resolve("tokens");
    Files.writeString(file, "1 2\n3 512\n");
    assertThatThrownBy(() -> run(new QualityPlan.Source.Tokens(file), 0, FormatChoice.AUTO))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("line 2: 512 (expected: token ids from 0 to 511)");
    Files.writeString(file, "7\n");
    assertThatThrownBy(() -> run(new QualityPlan.Source.Tokens(file), 0, FormatChoice.AUTO))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("prompts: none of two tokens or more");
  }

  @Test
  void namesTheFileOfPromptsThatCannotBeRead(@TempDir Path directory) throws IOException {
    Path absent = directory.resolve("absent");
    Path binary = directory.resolve("binary");
    Files.write(binary, new byte[] {(byte) 0xff, (byte) 0xfe});
    for (Path file : List.of(absent, directory, binary)) {
      for (QualityPlan.Source source :
          List.of(new QualityPlan.Source.Tokens(file), new QualityPlan.Source.Texts(file))) {
        assertThatThrownBy(() -> run(source, 0, FormatChoice.AUTO))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageStartingWith("prompts: " + file + ": ");
      }
    }
  }

  @Test
  void aSinglePositionIsNoPrompt() {
    assertThatThrownBy(() -> run(new QualityPlan.Source.Texts(null), 1, FormatChoice.AUTO))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("longest: 1 (expected: 0, which is all, or >= 2)");
  }
}
