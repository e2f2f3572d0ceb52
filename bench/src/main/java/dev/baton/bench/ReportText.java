package dev.baton.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Writes a report as a Markdown table with the machine and the ceilings above it. */
final class ReportText {

  private static final List<String> HEADS =
      List.of("test", "tok/s", "min", "max", "limit", "share", "bound", "outside us/step");

  private ReportText() {}

  static String of(BenchReport report) {
    StringBuilder text = new StringBuilder();
    Machine machine = report.machine();
    line(
        text,
        "machine: %s, %d processors; load average %s before, %s after; Java %s",
        machine.processor(),
        machine.processors(),
        load(machine.loadBefore()),
        load(machine.loadAfter()),
        machine.java());
    line(text, "device: %s", machine.device());
    for (BenchReport.Configuration each : report.configurations()) {
      configuration(text, report.shape(), each);
    }
    return text.toString();
  }

  private static void configuration(
      StringBuilder text, String shape, BenchReport.Configuration configuration) {
    Ceilings ceilings = configuration.ceilings();
    line(text, "");
    line(
        text,
        "%s, %s, TP %d, random weights made in %.1f s",
        shape,
        configuration.dtype(),
        configuration.tensorParallel(),
        configuration.loadSeconds());
    line(
        text,
        "ceilings of all processors: memory read %.1f GB/s; products in cache %.2f TFLOP/s",
        ceilings.bytesPerSecond() / 1e9,
        ceilings.operationsPerSecond() / 1e12);
    boolean peer = configuration.results().stream().anyMatch(Result::hasPeer);
    List<List<String>> rows = new ArrayList<>();
    List<String> heads = new ArrayList<>(HEADS);
    if (peer) {
      heads.addAll(List.of("peer", "ratio"));
    }
    rows.add(heads);
    configuration.results().forEach(result -> rows.add(row(result, peer)));
    table(text, rows);
  }

  private static List<String> row(Result result, boolean peer) {
    List<String> cells = new ArrayList<>();
    cells.add(result.workload().name());
    cells.add(rate(result.median()));
    cells.add(rate(result.least()));
    cells.add(rate(result.most()));
    cells.add(rate(result.limit()));
    cells.add("%.0f %%".formatted(result.share() * 100));
    cells.add(result.bound().name().toLowerCase(Locale.ROOT));
    cells.add("%.0f".formatted(result.outsideMicrosPerStep()));
    if (peer) {
      cells.add(result.hasPeer() ? rate(result.peerMedian()) : "-");
      cells.add(result.hasPeer() ? "%.2f".formatted(result.ratio()) : "-");
    }
    return cells;
  }

  /** Three digits or more. */
  private static String rate(double tokensPerSecond) {
    return (tokensPerSecond < 10 ? "%.2f" : tokensPerSecond < 100 ? "%.1f" : "%.0f")
        .formatted(tokensPerSecond);
  }

  private static String load(double load) {
    return load < 0 ? "unknown" : "%.1f".formatted(load);
  }

  /** The first column to the left, figures to the right. */
  private static void table(StringBuilder text, List<List<String>> rows) {
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

  private static void line(StringBuilder text, String format, Object... values) {
    text.append(format.formatted(values)).append('\n');
  }
}
