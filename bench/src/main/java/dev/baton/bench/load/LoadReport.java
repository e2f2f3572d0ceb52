package dev.baton.bench.load;

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
 * What loading took.
 *
 * @param fileBytes of the checkpoint
 * @param weightBytes as packed, embedding and output layer among them, counted from the shape
 * @param kvBytes of the KV pool
 */
public record LoadReport(
    String model,
    Formats formats,
    long fileBytes,
    long weightBytes,
    long kvBytes,
    List<Round> rounds)
    implements Report {

  private static final JsonMapper MAPPER = JsonMapper.shared();

  public LoadReport {
    rounds = List.copyOf(rounds);
  }

  /**
   * One load; bytes, negative = unknown.
   *
   * @param seconds from the call to an engine that can step
   * @param before anonymous memory of the process when it began
   * @param anonymousPeak most of it
   * @param after of it, when ready
   * @param peak of all resident pages, those of the mapped checkpoint among them
   */
  public record Round(double seconds, long before, long anonymousPeak, long after, long peak) {}

  /** Peak of a round's own anonymous memory over packed weights and KV. */
  private double share(Round round) {
    return (double) (round.anonymousPeak() - round.before()) / (weightBytes + kvBytes);
  }

  /** As a table for people, lines ended by line feeds. */
  @Override
  public String text() {
    StringBuilder text = new StringBuilder();
    text.append(
        "%s, weights %s, KV %s; checkpoint %s, packed weights %s, KV pool %s\n"
            .formatted(
                model,
                lower(formats.weights()),
                lower(formats.kv()),
                size(fileBytes),
                size(weightBytes),
                size(kvBytes)));
    List<List<String>> table = new ArrayList<>();
    table.add(
        List.of(
            "load",
            "seconds",
            "GB/s",
            "own memory before",
            "at its peak",
            "when ready",
            "peak share",
            "with mapped files"));
    for (int i = 0; i < rounds.size(); i++) {
      Round round = rounds.get(i);
      table.add(
          List.of(
              String.valueOf(i + 1),
              "%.2f".formatted(round.seconds()),
              "%.2f".formatted(fileBytes / round.seconds() / 1e9),
              size(round.before()),
              size(round.anonymousPeak()),
              size(round.after()),
              "%.2f".formatted(share(round)),
              size(round.peak())));
    }
    TextTable.write(text, table);
    return text.toString();
  }

  /** As JSON. */
  @Override
  public String json() {
    ObjectNode root = MAPPER.createObjectNode();
    root.put("model", model);
    root.put("weights", lower(formats.weights()));
    root.put("kv", lower(formats.kv()));
    root.put("file_bytes", fileBytes);
    root.put("weight_bytes", weightBytes);
    root.put("kv_bytes", kvBytes);
    ArrayNode loads = root.putArray("loads");
    for (Round round : rounds) {
      ObjectNode node = loads.addObject();
      node.put("seconds", round.seconds());
      node.put("anonymous_before", round.before());
      node.put("anonymous_peak", round.anonymousPeak());
      node.put("anonymous_after", round.after());
      node.put("resident_peak", round.peak());
      node.put("peak_share", share(round));
    }
    return MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(root);
  }

  private static String size(long bytes) {
    return bytes < 0 ? "unknown" : "%.1f MiB".formatted(bytes / 1048576.0);
  }

  private static String lower(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }
}
