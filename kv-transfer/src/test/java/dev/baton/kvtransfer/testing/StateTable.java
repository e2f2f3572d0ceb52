package dev.baton.kvtransfer.testing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A table of docs/handoff.md: rows are events, columns are states, a cell is the next state and the
 * effects. The first table under a heading whose first column is called {@code event}.
 *
 * @param cells by event, then by state, in the page's order
 */
public record StateTable(Map<String, Map<String, String>> cells) {

  /**
   * @param heading of the section, without its number signs
   */
  public static StateTable read(Path page, String heading) throws IOException {
    List<String> lines = Files.readAllLines(page);
    int at = lines.indexOf("## " + heading);
    if (at < 0) {
      throw new IllegalArgumentException("heading: %s is not in %s".formatted(heading, page));
    }
    while (!lines.get(at).startsWith("| event |")) {
      at++;
    }
    List<String> states = columns(lines.get(at));
    Map<String, Map<String, String>> cells = new LinkedHashMap<>();
    for (at += 2; at < lines.size() && lines.get(at).startsWith("|"); at++) {
      List<String> row = columns(lines.get(at));
      Map<String, String> byState = new LinkedHashMap<>();
      for (int i = 1; i < states.size(); i++) {
        byState.put(states.get(i), row.get(i));
      }
      cells.put(row.getFirst(), byState);
    }
    return new StateTable(cells);
  }

  private static List<String> columns(String line) {
    List<String> columns =
        new ArrayList<>(Arrays.stream(line.split("\\|", -1)).map(String::trim).toList());
    columns.removeFirst();
    columns.removeLast();
    return columns;
  }

  /** How a cell says this. */
  public static String cell(Enum<?> before, Enum<?> after, List<String> effects) {
    String state = before == after ? "=" : after.name();
    if (effects.isEmpty()) {
      return before == after ? "-" : state;
    }
    return state + ": " + String.join(", ", effects);
  }
}
