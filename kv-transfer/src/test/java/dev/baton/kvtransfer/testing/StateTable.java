package dev.baton.kvtransfer.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.BiFunction;

/**
 * A table of docs/handoff.md: rows are events, columns are states, a cell is the next state and the
 * effects. The first table under a heading whose first column is called {@code event}. Where rows
 * differ, {@link #check} shows the table that the machine has.
 *
 * @param cells by event, then by state, in the page's order
 */
public record StateTable(Map<String, Map<String, String>> cells) {

  /** From any module's directory. */
  private static final Path PAGE = Path.of("..", "docs", "handoff.md");

  private static StateTable read(Path page, String heading) throws IOException {
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

  /**
   * Holds a machine to a table of docs/handoff.md: rows and events must be the same, columns and
   * states too, and every cell what the machine does.
   *
   * @param heading of the section
   * @param events all that there are, in the table's order
   * @param cell what the event does in the state, as {@link #cell(Enum, Enum, List)} says it
   */
  public static <E, S extends Enum<S>> void check(
      String heading, Map<String, E> events, Class<S> states, BiFunction<E, S, String> cell)
      throws IOException {
    StateTable table = read(PAGE, heading);
    assertThat(table.cells.keySet())
        .as("rows of '%s'; the machine's table is\n%s", heading, format(events, states, cell))
        .containsExactlyElementsOf(events.keySet());
    List<String> names = Arrays.stream(states.getEnumConstants()).map(Enum::name).toList();
    events.forEach(
        (name, event) -> {
          Map<String, String> row = Objects.requireNonNull(table.cells.get(name));
          assertThat(row.keySet()).containsExactlyElementsOf(names);
          for (S state : states.getEnumConstants()) {
            assertThat(cell.apply(event, state))
                .as("%s in %s", name, state)
                .isEqualTo(row.get(state.name()));
          }
        });
  }

  /** The table as the page should have it. */
  private static <E, S extends Enum<S>> String format(
      Map<String, E> events, Class<S> states, BiFunction<E, S, String> cell) {
    StringBuilder text = new StringBuilder("| event |");
    StringBuilder line = new StringBuilder("|---|");
    for (S state : states.getEnumConstants()) {
      text.append(" ").append(state).append(" |");
      line.append("---|");
    }
    text.append("\n").append(line).append("\n");
    events.forEach(
        (name, event) -> {
          text.append("| ").append(name).append(" |");
          for (S state : states.getEnumConstants()) {
            text.append(" ").append(cell.apply(event, state)).append(" |");
          }
          text.append("\n");
        });
    return text.toString();
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
