package dev.baton.bench.split;

import dev.baton.bench.Report;
import dev.baton.bench.TextTable;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleFunction;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** Seconds of every session, aggregated and split in turns. */
public record SplitReport(SplitPlan plan, List<Length> lengths) implements Report {

  private static final JsonMapper MAPPER = JsonMapper.shared();

  /**
   * What one session's client saw.
   *
   * @param first seconds from the call to token 0
   * @param second seconds from token 0 to token 1
   */
  record Wait(double first, double second) {}

  /** A session on one worker and the same split over two. */
  record Round(Wait aggregated, Wait split) {}

  /** All rounds of one prompt length. */
  record Length(int tokens, List<Round> rounds) {

    Length {
      rounds = List.copyOf(rounds);
    }

    double median(ToDoubleFunction<Round> value) {
      double[] sorted = rounds.stream().mapToDouble(value).sorted().toArray();
      int middle = sorted.length / 2;
      return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    /** Time to the first token, split over aggregated: the median of the rounds' ratios. */
    double ratio() {
      return median(round -> round.split.first / round.aggregated.first);
    }

    /** How much later the second token comes when split, as a share of the aggregated prefill. */
    double secondLater() {
      return median(
          round -> (round.split.second - round.aggregated.second) / round.aggregated.first);
    }
  }

  public SplitReport {
    lengths = List.copyOf(lengths);
  }

  /** As a table for people, lines ended by line feeds. */
  @Override
  public String text() {
    StringBuilder text = new StringBuilder();
    text.append(
        "%s, random weights; medians of %d rounds, ms\n".formatted(plan.shape(), plan.rounds()));
    List<List<String>> rows = new ArrayList<>();
    rows.add(
        List.of(
            "prompt",
            "first, whole",
            "first, split",
            "ratio",
            "second, whole",
            "second, split",
            "later, of prefill"));
    for (Length length : lengths) {
      rows.add(
          List.of(
              Integer.toString(length.tokens),
              millis(length.median(round -> round.aggregated.first)),
              millis(length.median(round -> round.split.first)),
              String.format(Locale.ROOT, "%.3f", length.ratio()),
              millis(length.median(round -> round.aggregated.second)),
              millis(length.median(round -> round.split.second)),
              String.format(Locale.ROOT, "%.1f %%", 100 * length.secondLater())));
    }
    TextTable.write(text, rows);
    return text.toString();
  }

  private static String millis(double seconds) {
    return String.format(Locale.ROOT, "%.1f", 1e3 * seconds);
  }

  /** As JSON. */
  @Override
  public String json() {
    ObjectNode root = MAPPER.createObjectNode();
    root.put("shape", plan.shape());
    ArrayNode all = root.putArray("lengths");
    for (Length length : lengths) {
      ObjectNode node = all.addObject();
      node.put("tokens", length.tokens);
      node.put("ratio", length.ratio());
      node.put("second_later", length.secondLater());
      ArrayNode rounds = node.putArray("rounds");
      for (Round round : length.rounds) {
        ObjectNode entry = rounds.addObject();
        entry.put("aggregated_first", round.aggregated.first);
        entry.put("aggregated_second", round.aggregated.second);
        entry.put("split_first", round.split.first);
        entry.put("split_second", round.split.second);
      }
    }
    return MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(root);
  }
}
