package dev.baton.bench;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Reads tokens per second from what llama-bench prints ({@code -o json}, {@code jsonl}, {@code csv}
 * or {@code md}) and llama-batched-bench ({@code --output-format jsonl}). Lines that are none of
 * these, such as a log, are passed over.
 *
 * <p>Rates are told by what they are comparable with: prompts without context before them, and
 * decoding at a depth. Tests of both mixed ({@code pp512+tg128}) are passed over.
 */
final class PeerOutput {

  private static final JsonMapper MAPPER = JsonMapper.shared();

  /** {@code pp512}, {@code tg128}, {@code tg128 @ d2048}. */
  private static final Pattern TEST =
      Pattern.compile("(pp|tg)\\s?(\\d{1,9})(?:\\s*@\\s*d(\\d{1,9}))?");

  private static final Pattern CSV_CELL = Pattern.compile("\"((?:[^\"]|\"\")*)\"|([^,]+)|(?=,|$)");

  private final Map<String, Double> rates = new HashMap<>();

  private PeerOutput() {}

  /**
   * @return tokens per second by {@link #key}; empty when the output has none
   */
  static Map<String, Double> parse(String output) {
    PeerOutput parsed = new PeerOutput();
    String text = output.strip();
    // A log may stand before the array, which begins a line.
    int array = text.startsWith("[") ? 0 : text.indexOf("\n[") + 1;
    if (text.startsWith("[", array) && parsed.jsonArray(text.substring(array))) {
      return parsed.rates;
    }
    parsed.lines(text.lines().map(String::strip).toList());
    return parsed.rates;
  }

  /** What a workload's figures of another engine are found by. */
  static String key(Workload workload) {
    return switch (workload) {
      case Workload.Prefill(int prompt) -> prefillKey(prompt);
      // How many steps were timed makes another mean of the same rate.
      case Workload.Decode(int batch, int depth, int tokens) -> decodeKey(batch, depth);
    };
  }

  private static String prefillKey(long prompt) {
    return "prefill " + prompt;
  }

  private static String decodeKey(long batch, long depth) {
    return "decode x%d at %d".formatted(batch, depth);
  }

  private boolean jsonArray(String text) {
    JsonNode tests;
    try {
      tests = MAPPER.readTree(text);
    } catch (JacksonException e) {
      // Some other text in brackets; its lines may say more.
      return false;
    }
    tests.forEach(this::jsonTest);
    return true;
  }

  private void lines(List<String> lines) {
    List<String> heads = List.of();
    for (String line : lines) {
      if (line.startsWith("{")) {
        jsonLine(line);
      } else if (line.startsWith("|")) {
        List<String> cells = List.of(line.substring(1).split("\\|"));
        cells = cells.stream().map(String::strip).toList();
        if (cells.contains("test") && cells.contains("t/s")) {
          heads = cells;
        } else {
          markdownTest(heads, cells);
        }
      } else if (line.contains("avg_ts") && line.contains("n_prompt")) {
        heads = csv(line);
      } else if (heads.contains("avg_ts")) {
        csvTest(heads, csv(line));
      }
    }
  }

  private void jsonLine(String line) {
    try {
      jsonTest(MAPPER.readTree(line));
    } catch (JacksonException e) {
      // A line of a log that begins like an object.
      return;
    }
  }

  private void jsonTest(JsonNode test) {
    if (test.has("avg_ts")) {
      test(
          number(test, "n_prompt"),
          number(test, "n_gen"),
          number(test, "n_depth"),
          test.path("avg_ts").asDouble(0));
    } else if (test.has("speed_tg") && test.has("pl")) {
      long batch = number(test, "pl");
      long prompt = number(test, "pp");
      put(decodeKey(batch, prompt), test.path("speed_tg").asDouble(0));
      if (batch == 1) {
        put(prefillKey(prompt), test.path("speed_pp").asDouble(0));
      }
    }
  }

  private static long number(JsonNode node, String field) {
    return node.path(field).asLong(0);
  }

  private void csvTest(List<String> heads, List<String> cells) {
    if (cells.size() == heads.size()) {
      Map<String, String> row = new HashMap<>();
      for (int i = 0; i < heads.size(); i++) {
        row.put(heads.get(i), cells.get(i));
      }
      test(
          whole(row.getOrDefault("n_prompt", "")),
          whole(row.getOrDefault("n_gen", "")),
          whole(row.getOrDefault("n_depth", "")),
          decimal(row.getOrDefault("avg_ts", "")));
    }
  }

  private void markdownTest(List<String> heads, List<String> cells) {
    int test = heads.indexOf("test");
    int rate = heads.indexOf("t/s");
    if (test < 0 || cells.size() != heads.size()) {
      return;
    }
    Matcher matcher = TEST.matcher(cells.get(test));
    if (matcher.matches()) {
      long tokens = Long.parseLong(matcher.group(2));
      long depth = matcher.group(3) == null ? 0 : Long.parseLong(matcher.group(3));
      boolean prompt = matcher.group(1).equals("pp");
      // "82.31 \u00b1 0.52"
      String mean = cells.get(rate).split("[^0-9.]", 2)[0];
      test(prompt ? tokens : 0, prompt ? 0 : tokens, depth, decimal(mean));
    }
  }

  private void test(long prompt, long generated, long depth, double rate) {
    if (prompt > 0 && generated == 0 && depth == 0) {
      put(prefillKey(prompt), rate);
    } else if (prompt == 0 && generated > 0) {
      put(decodeKey(1, depth), rate);
    }
  }

  private void put(String key, double rate) {
    if (rate > 0) {
      rates.put(key, rate);
    }
  }

  private static List<String> csv(String line) {
    List<String> cells = new ArrayList<>();
    Matcher matcher = CSV_CELL.matcher(line);
    int at = 0;
    while (at <= line.length() && matcher.find(at)) {
      String quoted = matcher.group(1);
      String plain = matcher.group(2) == null ? "" : matcher.group(2);
      cells.add(quoted == null ? plain : quoted.replace("\"\"", "\""));
      at = matcher.end() + 1;
    }
    return cells;
  }

  private static long whole(String text) {
    return text.matches("\\d{1,9}") ? Long.parseLong(text) : 0;
  }

  private static double decimal(String text) {
    return text.matches("\\d{1,12}(\\.\\d{1,12})?") ? Double.parseDouble(text) : 0;
  }
}
