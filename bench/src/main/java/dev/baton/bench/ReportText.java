package dev.baton.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/** Writes a report as a Markdown table with the machine and the ceilings above it. */
final class ReportText {

  private static final List<String> HEADS =
      List.of(
          "test",
          "tok/s",
          "min",
          "max",
          "limit",
          "share",
          "bound",
          "outside us/step",
          "Java bytes/tok");

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
      configuration(text, report, each);
    }
    return text.toString();
  }

  private static void configuration(
      StringBuilder text, BenchReport report, BenchReport.Configuration configuration) {
    Ceilings ceilings = configuration.ceilings();
    line(text, "");
    line(
        text,
        "%s, weights %s, KV %s, TP %d, random weights made in %.1f s",
        report.shape(),
        lower(configuration.formats().weights()),
        lower(configuration.formats().kv()),
        configuration.tensorParallel(),
        configuration.loadSeconds());
    line(
        text,
        "ceilings of all processors: memory read %.1f GB/s; products %s",
        ceilings.bytesPerSecond() / 1e9,
        ceilings.operationsPerSecond().entrySet().stream()
            .sorted(Map.Entry.comparingByKey())
            .map(each -> lower(each.getKey()) + " " + operations(each.getValue()))
            .collect(Collectors.joining(", ")));
    List<Result> results = configuration.results();
    boolean busy = results.stream().anyMatch(Result::hasDisturbed);
    boolean peer = results.stream().anyMatch(Result::hasPeer);
    boolean busyPeer = results.stream().anyMatch(Result::hasDisturbedPeer);
    List<List<String>> rows = new ArrayList<>();
    List<String> heads = new ArrayList<>(HEADS);
    if (busy) {
      heads.addAll(List.of("beside %d busy".formatted(report.busy()), "kept"));
    }
    if (peer) {
      heads.addAll(List.of("peer", "ratio"));
    }
    if (busyPeer) {
      heads.addAll(List.of("peer beside %d busy".formatted(report.busy()), "kept"));
    }
    rows.add(heads);
    for (Result result : results) {
      List<String> row = row(result);
      if (busy) {
        row.addAll(busy(result));
      }
      if (peer) {
        row.addAll(peer(result));
      }
      if (busyPeer) {
        row.addAll(busyPeer(result));
      }
      rows.add(row);
    }
    TextTable.write(text, rows);
  }

  private static String operations(double rate) {
    return rate == Ceilings.UNKNOWN ? "not measured" : "%.2f T/s".formatted(rate / 1e12);
  }

  private static List<String> row(Result result) {
    List<String> cells = new ArrayList<>();
    cells.add(result.workload().name());
    cells.add(rate(result.median()));
    cells.add(rate(result.least()));
    cells.add(rate(result.most()));
    cells.add(rate(result.limit()));
    cells.add(percent(result.share()));
    cells.add(lower(result.bound()));
    cells.add("%.0f".formatted(result.outsideMicrosPerStep()));
    cells.add("%.0f".formatted(result.allocatedBytesPerToken()));
    return cells;
  }

  private static List<String> busy(Result result) {
    return result.hasDisturbed()
        ? List.of(rate(result.disturbedMedian()), percent(result.kept()))
        : List.of("-", "-");
  }

  private static List<String> peer(Result result) {
    return result.hasPeer()
        ? List.of(rate(result.peerMedian()), "%.2f".formatted(result.ratio()))
        : List.of("-", "-");
  }

  private static List<String> busyPeer(Result result) {
    return result.hasDisturbedPeer()
        ? List.of(rate(result.disturbedPeerMedian()), percent(result.peerKept()))
        : List.of("-", "-");
  }

  private static String percent(double share) {
    return "%.0f %%".formatted(share * 100);
  }

  private static String lower(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }

  /** Three digits or more. */
  private static String rate(double tokensPerSecond) {
    return (tokensPerSecond < 10 ? "%.2f" : tokensPerSecond < 100 ? "%.1f" : "%.0f")
        .formatted(tokensPerSecond);
  }

  private static String load(double load) {
    return load < 0 ? "unknown" : "%.1f".formatted(load);
  }

  private static void line(StringBuilder text, String format, Object... values) {
    text.append(format.formatted(values)).append('\n');
  }
}
