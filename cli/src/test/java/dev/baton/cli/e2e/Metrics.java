package dev.baton.cli.e2e;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * One reading of a {@code /metrics} page: values by name with labels, as Prometheus writes them.
 */
record Metrics(Map<String, Double> values) {

  private static final HttpClient CLIENT = HttpClient.newHttpClient();

  static Metrics read(String url) {
    try {
      String page =
          CLIENT
              .send(
                  HttpRequest.newBuilder(URI.create(url)).build(),
                  HttpResponse.BodyHandlers.ofString())
              .body();
      Map<String, Double> values = new LinkedHashMap<>();
      page.lines()
          .filter(line -> !line.startsWith("#") && !line.isBlank())
          .forEach(
              line -> {
                int space = line.lastIndexOf(' ');
                values.put(line.substring(0, space), Double.valueOf(line.substring(space + 1)));
              });
      return new Metrics(values);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(e);
    }
  }

  /** Sum over all series of {@code name} whose labels contain each of {@code labels}. */
  double sum(String name, String... labels) {
    return values.entrySet().stream()
        .filter(entry -> matches(entry.getKey(), name, labels))
        .mapToDouble(Map.Entry::getValue)
        .sum();
  }

  /** The different values of a label over all series of {@code name}. */
  Set<String> labels(String name, String label) {
    Pattern pattern = Pattern.compile("^" + name + "\\{.*\\b" + label + "=\"([^\"]*)\"");
    return values.keySet().stream()
        .map(pattern::matcher)
        .filter(Matcher::find)
        .map(matcher -> matcher.group(1))
        .collect(Collectors.toSet());
  }

  /**
   * Whether no worker holds a block for a session, as far as they have reported: one that has just
   * registered and not reported yet might.
   */
  boolean nothingHeld() {
    Set<String> workers = labels("baton_kv_blocks_capacity", "worker");
    return !workers.isEmpty()
        && labels("baton_kv_blocks", "worker").equals(workers)
        && Stream.of("owned", "reserved", "quarantined")
            .allMatch(state -> sum("baton_kv_blocks", "state=\"" + state + "\"") == 0);
  }

  private static boolean matches(String series, String name, String... labels) {
    if (!series.equals(name) && !series.startsWith(name + "{")) {
      return false;
    }
    for (String label : labels) {
      if (!series.contains(label)) {
        return false;
      }
    }
    return true;
  }
}
