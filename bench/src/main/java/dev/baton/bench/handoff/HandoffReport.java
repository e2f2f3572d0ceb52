package dev.baton.bench.handoff;

import dev.baton.bench.TextTable;
import java.util.List;
import java.util.Locale;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * Seconds of each round, plain messages and hand-offs measured in turns.
 *
 * @param smallBytes of the small ones
 */
public record HandoffReport(
    HandoffPlan plan,
    int smallBytes,
    List<Double> plain,
    List<Double> handoff,
    List<Double> plainSmall,
    List<Double> handoffSmall) {

  private static final JsonMapper MAPPER = JsonMapper.shared();

  public HandoffReport {
    plain = List.copyOf(plain);
    handoff = List.copyOf(handoff);
    plainSmall = List.copyOf(plainSmall);
    handoffSmall = List.copyOf(handoffSmall);
  }

  /** Rate of the hand-off over that of plain messages, medians of the rounds. */
  public double share() {
    return median(plain) * plan.bytes() / (plainBytes() * median(handoff));
  }

  private double plainBytes() {
    return (double) plan.messages() * plan.slabBytes();
  }

  /** As a table for people, lines ended by line feeds. */
  public String text() {
    StringBuilder text = new StringBuilder();
    text.append(
        String.format(
            Locale.ROOT,
            "%d tokens of %d layers, %d KV heads, %d elements, %s: %.1f MiB in slabs of %d KiB;"
                + " medians of %d rounds\n",
            plan.tokens(),
            plan.layers(),
            plan.kvHeads(),
            plan.headDim(),
            plan.dtype().name().toLowerCase(Locale.ROOT),
            plan.bytes() / 1048576.0,
            plan.slabBytes() >> 10,
            plan.rounds()));
    TextTable.write(
        text,
        List.of(
            List.of("moved by", "ms", "GB/s", "best GB/s", "small, us"),
            row("plain UCX messages", plain, plainBytes(), plainSmall),
            row("hand-off", handoff, plan.bytes(), handoffSmall)));
    text.append(String.format(Locale.ROOT, "share of plain: %.0f %%\n", 100 * share()));
    return text.toString();
  }

  private static List<String> row(
      String name, List<Double> seconds, double bytes, List<Double> small) {
    double best = seconds.stream().mapToDouble(Double::doubleValue).min().orElseThrow();
    return List.of(
        name,
        String.format(Locale.ROOT, "%.1f", 1e3 * median(seconds)),
        String.format(Locale.ROOT, "%.2f", bytes / median(seconds) / 1e9),
        String.format(Locale.ROOT, "%.2f", bytes / best / 1e9),
        String.format(Locale.ROOT, "%.0f", 1e6 * median(small)));
  }

  /** As JSON. */
  public String json() {
    ObjectNode root = MAPPER.createObjectNode();
    root.put("layers", plan.layers());
    root.put("kv_heads", plan.kvHeads());
    root.put("head_dim", plan.headDim());
    root.put("dtype", plan.dtype().name().toLowerCase(Locale.ROOT));
    root.put("tokens", plan.tokens());
    root.put("bytes", plan.bytes());
    root.put("slab_bytes", plan.slabBytes());
    root.put("small_bytes", smallBytes);
    root.put("share_of_plain", share());
    seconds(root, "plain_seconds", plain);
    seconds(root, "handoff_seconds", handoff);
    seconds(root, "plain_small_seconds", plainSmall);
    seconds(root, "handoff_small_seconds", handoffSmall);
    return MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(root);
  }

  private static void seconds(ObjectNode root, String name, List<Double> samples) {
    ArrayNode array = root.putArray(name);
    samples.forEach(array::add);
  }

  private static double median(List<Double> samples) {
    List<Double> sorted = samples.stream().sorted().toList();
    return sorted.get(sorted.size() / 2);
  }
}
