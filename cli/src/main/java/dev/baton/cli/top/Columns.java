package dev.baton.cli.top;

import java.util.ArrayList;
import java.util.List;

/** Rows of text under heads, each column as wide as its widest cell. */
final class Columns {

  private final List<List<String>> rows = new ArrayList<>();

  Columns(String... heads) {
    rows.add(List.of(heads));
  }

  void add(String... cells) {
    if (cells.length != rows.getFirst().size()) {
      throw new IllegalArgumentException(
          "cells: %d (expected: %d)".formatted(cells.length, rows.getFirst().size()));
    }
    rows.add(List.of(cells));
  }

  List<String> lines() {
    int[] widths = new int[rows.getFirst().size()];
    for (List<String> row : rows) {
      for (int i = 0; i < widths.length; i++) {
        widths[i] = Math.max(widths[i], row.get(i).length());
      }
    }
    List<String> lines = new ArrayList<>();
    for (List<String> row : rows) {
      StringBuilder line = new StringBuilder();
      for (int i = 0; i < widths.length; i++) {
        String cell = row.get(i);
        line.append(cell).repeat(' ', widths[i] - cell.length() + 2);
      }
      lines.add(line.toString().stripTrailing());
    }
    return lines;
  }
}
