package dev.baton.bench.quality;

import dev.baton.bench.Report;
import dev.baton.bench.TextTable;
import dev.baton.engine.Formats;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * What formats cost a model.
 *
 * @param model its name
 * @param prompts number of prompts
 */
public record QualityReport(String model, int prompts, List<Row> rows) implements Report {

  private static final JsonMapper MAPPER = JsonMapper.shared();

  private static final List<String> HEADS =
      List.of(
          "weights",
          "KV",
          "positions",
          "mean KL",
          "99 % below",
          "largest",
          "same top token",
          "perplexity float32",
          "perplexity");

  public QualityReport {
    rows = List.copyOf(rows);
  }

  /**
   * One format against float32.
   *
   * @param positions that were compared
   * @param meanNats mean Kullback-Leibler divergence from float32
   * @param percentile99Nats what 99 of 100 positions do not exceed
   * @param mostNats the largest
   * @param topAgreement part of the positions with the same likeliest token
   * @param referencePerplexity of the prompts, under the float32 model
   * @param perplexity of the prompts, under this one
   */
  public record Row(
      Formats formats,
      int positions,
      double meanNats,
      double percentile99Nats,
      double mostNats,
      double topAgreement,
      double referencePerplexity,
      double perplexity) {}

  /** As a table for people, lines ended by line feeds. */
  @Override
  public String text() {
    StringBuilder text = new StringBuilder();
    text.append("%s against itself in float32, %d prompts; KL in nats%n".formatted(model, prompts));
    List<List<String>> table = new ArrayList<>();
    table.add(HEADS);
    for (Row row : rows) {
      table.add(
          List.of(
              lower(row.formats().weights()),
              lower(row.formats().kv()),
              String.valueOf(row.positions()),
              "%.6f".formatted(row.meanNats()),
              "%.6f".formatted(row.percentile99Nats()),
              "%.6f".formatted(row.mostNats()),
              "%.2f %%".formatted(row.topAgreement() * 100),
              "%.3f".formatted(row.referencePerplexity()),
              "%.3f".formatted(row.perplexity())));
    }
    TextTable.write(text, table);
    return text.toString();
  }

  /** As JSON. */
  @Override
  public String json() {
    ObjectNode root = MAPPER.createObjectNode();
    root.put("model", model);
    root.put("prompts", prompts);
    ArrayNode formats = root.putArray("formats");
    for (Row row : rows) {
      ObjectNode node = formats.addObject();
      node.put("weights", lower(row.formats().weights()));
      node.put("kv", lower(row.formats().kv()));
      node.put("positions", row.positions());
      node.put("mean_kl_nats", row.meanNats());
      node.put("p99_kl_nats", row.percentile99Nats());
      node.put("max_kl_nats", row.mostNats());
      node.put("top1_agreement", row.topAgreement());
      node.put("perplexity_float32", row.referencePerplexity());
      node.put("perplexity", row.perplexity());
    }
    return MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(root);
  }

  private static String lower(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }
}
