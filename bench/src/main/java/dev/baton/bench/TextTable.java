package dev.baton.bench;

import java.util.List;

/** Writes Markdown tables whose columns line up. */
public final class TextTable {

  private TextTable() {}

  /**
   * Appends a table, the first column to the left, figures to the right.
   *
   * @param rows the heads first; all of the same length
   */
  public static void write(StringBuilder text, List<List<String>> rows) {
    int columns = rows.getFirst().size();
    int[] widths = new int[columns];
    for (List<String> row : rows) {
      for (int i = 0; i < columns; i++) {
        widths[i] = Math.max(widths[i], row.get(i).length());
      }
    }
    for (int r = 0; r < rows.size(); r++) {
      for (int i = 0; i < columns; i++) {
        String align = i == 0 ? "| %-" : "| %";
        text.append((align + widths[i] + "s ").formatted(rows.get(r).get(i)));
      }
      text.append("|\n");
      if (r == 0) {
        for (int i = 0; i < columns; i++) {
          text.append('|').append("-".repeat(widths[i] + 1)).append(i == 0 ? '-' : ':');
        }
        text.append("|\n");
      }
    }
  }
}
