package dev.baton.bench;

import java.util.Locale;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** Writes a report as JSON, with every round's figures. */
final class ReportJson {

  private static final JsonMapper MAPPER = JsonMapper.shared();

  private ReportJson() {}

  static String of(BenchReport report) {
    ObjectNode root = MAPPER.createObjectNode();
    root.put("shape", report.shape());
    ObjectNode machine = root.putObject("machine");
    machine.put("processor", report.machine().processor());
    machine.put("processors", report.machine().processors());
    machine.put("device", report.machine().device());
    machine.put("java", report.machine().java());
    machine.put("load_before", report.machine().loadBefore());
    machine.put("load_after", report.machine().loadAfter());
    root.put("busy", report.busy());
    ArrayNode configurations = root.putArray("configurations");
    for (BenchReport.Configuration each : report.configurations()) {
      write(configurations.addObject(), each);
    }
    return MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(root);
  }

  private static void write(ObjectNode node, BenchReport.Configuration configuration) {
    node.put("dtype", lower(configuration.formats().dtype()));
    node.put("weights", lower(configuration.formats().weights()));
    node.put("kv", lower(configuration.formats().kv()));
    node.put("tensor_parallel", configuration.tensorParallel());
    node.put("load_seconds", configuration.loadSeconds());
    ObjectNode ceilings = node.putObject("ceilings");
    ceilings.put("memory_bytes_per_second", configuration.ceilings().bytesPerSecond());
    ObjectNode operations = ceilings.putObject("operations_per_second");
    configuration
        .ceilings()
        .operationsPerSecond()
        .forEach(
            (arithmetic, rate) ->
                operations.put(lower(arithmetic), rate == Ceilings.UNKNOWN ? null : rate));
    ArrayNode results = node.putArray("results");
    configuration.results().forEach(result -> write(results.addObject(), result));
  }

  private static void write(ObjectNode node, Result result) {
    node.put("test", result.workload().name());
    switch (result.workload()) {
      case Workload.Prefill(int prompt) -> node.put("prompt", prompt);
      case Workload.Decode(int batch, int depth, int tokens) -> {
        node.put("batch", batch);
        node.put("depth", depth);
        node.put("tokens", tokens);
      }
    }
    node.put("tokens_per_second", result.median());
    node.put("limit", result.limit());
    node.put("share", result.share());
    node.put("bound", lower(result.bound()));
    node.put("outside_microseconds_per_step", result.outsideMicrosPerStep());
    node.put("java_bytes_per_token", result.allocatedBytesPerToken());
    ArrayNode rounds = node.putArray("rounds");
    result.rates().forEach(rounds::add);
    if (result.hasDisturbed()) {
      node.put("busy_tokens_per_second", result.disturbedMedian());
      node.put("busy_kept", result.kept());
      result.disturbedRates().forEach(node.putArray("busy_rounds")::add);
    }
    if (result.hasPeer()) {
      node.put("peer_tokens_per_second", result.peerMedian());
      node.put("ratio", result.ratio());
      ArrayNode peer = node.putArray("peer_rounds");
      result.peer().forEach(peer::add);
    }
    if (result.hasDisturbedPeer()) {
      node.put("busy_peer_tokens_per_second", result.disturbedPeerMedian());
      node.put("busy_peer_kept", result.peerKept());
      result.disturbedPeer().forEach(node.putArray("busy_peer_rounds")::add);
    }
  }

  private static String lower(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }
}
