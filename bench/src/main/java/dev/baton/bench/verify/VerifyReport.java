package dev.baton.bench.verify;

import dev.baton.bench.TextTable;
import java.util.ArrayList;
import java.util.List;

/**
 * What was compared and how it came out.
 *
 * @param setting one line: model, shapes, prompts
 * @param control the same sessions computed twice without any transfer, once by each worker
 * @param split the same sessions with their KV handed over, in several ways
 */
public record VerifyReport(String setting, Comparison control, List<Comparison> split) {

  /**
   * A run held against the decode worker alone.
   *
   * @param tokens compared, log probabilities with each
   * @param kvBytes compared
   * @param differences a line for every session that differed
   */
  public record Comparison(
      String name, int sessions, long tokens, long kvBytes, List<String> differences) {

    public Comparison {
      differences = List.copyOf(differences);
    }

    boolean equal() {
      return differences.isEmpty();
    }
  }

  private static final int SHOWN = 5;

  public VerifyReport {
    split = List.copyOf(split);
  }

  /** Every session of every run was the same. */
  public boolean verified() {
    return control.equal() && split.stream().allMatch(Comparison::equal);
  }

  public String text() {
    StringBuilder text = new StringBuilder(setting).append("\n\n");
    List<List<String>> rows = new ArrayList<>();
    rows.add(
        List.of("against the decode worker alone", "sessions", "tokens", "KV bytes", "differ"));
    List<Comparison> all = new ArrayList<>(List.of(control));
    all.addAll(split);
    for (Comparison each : all) {
      rows.add(
          List.of(
              each.name(),
              Integer.toString(each.sessions()),
              Long.toString(each.tokens()),
              Long.toString(each.kvBytes()),
              Integer.toString(each.differences().size())));
    }
    TextTable.write(text, rows);
    text.append('\n');
    for (Comparison each : all) {
      each.differences().stream()
          .limit(SHOWN)
          .forEach(line -> text.append(each.name()).append(": ").append(line).append('\n'));
      if (each.differences().size() > SHOWN) {
        text.append("%s: and %d more\n".formatted(each.name(), each.differences().size() - SHOWN));
      }
    }
    return text.append(verdict()).append('\n').toString();
  }

  private String verdict() {
    if (verified()) {
      return "verified: token ids, log probabilities and KV are the same, bit for bit";
    }
    return control.equal()
        ? "NOT verified: the workers compute the same, what was handed over differs"
        : "NOT verified: the workers differ already without a transfer, so it is not the hand-off"
            + " alone";
  }
}
