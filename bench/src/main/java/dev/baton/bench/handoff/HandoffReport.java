package dev.baton.bench.handoff;

import dev.baton.bench.Report;
import dev.baton.bench.TextTable;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * Seconds of each round, all kinds measured in turns.
 *
 * @param smallBytes of the small ones
 */
public record HandoffReport(HandoffPlan plan, int smallBytes, Samples samples) implements Report {

  private static final JsonMapper MAPPER = JsonMapper.shared();

  /** What is timed. */
  enum Kind {
    /** Plain messages of a slab's size. */
    PLAIN,
    HANDOFF,
    /** A hand-off whose source and sink do nothing. */
    BARE,
    PLAIN_SMALL,
    HANDOFF_SMALL,
    /** One thread, with nothing else going on. */
    PACK,
    CHECKSUM,
    CHECK,
    UNPACK
  }

  /** Seconds of every round, by kind. */
  static final class Samples {
    private final Map<Kind, List<Double>> seconds = new EnumMap<>(Kind.class);

    void add(Kind kind, double value) {
      seconds.computeIfAbsent(kind, _ -> new ArrayList<>()).add(value);
    }

    void addAll(Samples others) {
      others.seconds.forEach((kind, values) -> values.forEach(value -> add(kind, value)));
    }

    List<Double> of(Kind kind) {
      return seconds.getOrDefault(kind, List.of());
    }
  }

  /** Rate of the hand-off over that of plain messages, medians of the rounds. */
  public double share() {
    return share(Kind.HANDOFF);
  }

  private double share(Kind kind) {
    return median(Kind.PLAIN) * plan.bytes() / (plainBytes() * median(kind));
  }

  /**
   * Seconds that two processors need at least for the parts of a hand-off, the wire at the speed of
   * plain messages: their sum shared evenly.
   */
  double bound() {
    double wire = median(Kind.PLAIN) * plan.bytes() / plainBytes();
    return (wire
            + median(Kind.PACK)
            + median(Kind.CHECKSUM)
            + median(Kind.CHECK)
            + median(Kind.UNPACK))
        / 2;
  }

  private double plainBytes() {
    return (double) plan.messages() * plan.slabBytes();
  }

  /** As a table for people, lines ended by line feeds. */
  @Override
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
            row("plain UCX messages", Kind.PLAIN, plainBytes(), Kind.PLAIN_SMALL),
            row("hand-off", Kind.HANDOFF, plan.bytes(), Kind.HANDOFF_SMALL),
            row("hand-off, nothing packed", Kind.BARE, plan.bytes(), null),
            row("pack, alone", Kind.PACK, plan.bytes(), null),
            row("checksum, alone", Kind.CHECKSUM, plan.bytes(), null),
            row("check, alone", Kind.CHECK, plan.bytes(), null),
            row("unpack, alone", Kind.UNPACK, plan.bytes(), null)));
    text.append(
        String.format(
            Locale.ROOT,
            "share of plain: %.0f %%; with nothing packed %.0f %%; bound of the parts on two"
                + " processors %.0f %%\n",
            100 * share(),
            100 * share(Kind.BARE),
            100 * median(Kind.PLAIN) * plan.bytes() / (plainBytes() * bound())));
    return text.toString();
  }

  private List<String> row(String name, Kind kind, double bytes, @Nullable Kind small) {
    double best = samples.of(kind).stream().mapToDouble(Double::doubleValue).min().orElseThrow();
    return List.of(
        name,
        String.format(Locale.ROOT, "%.1f", 1e3 * median(kind)),
        String.format(Locale.ROOT, "%.2f", bytes / median(kind) / 1e9),
        String.format(Locale.ROOT, "%.2f", bytes / best / 1e9),
        small == null ? "" : String.format(Locale.ROOT, "%.0f", 1e6 * median(small)));
  }

  /** As JSON. */
  @Override
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
    for (Kind kind : Kind.values()) {
      ArrayNode array = root.putArray(kind.name().toLowerCase(Locale.ROOT) + "_seconds");
      samples.of(kind).forEach(array::add);
    }
    return MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(root);
  }

  private double median(Kind kind) {
    List<Double> sorted = samples.of(kind).stream().sorted().toList();
    return sorted.get(sorted.size() / 2);
  }
}
