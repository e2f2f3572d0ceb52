package dev.baton.cli;

import dev.baton.cli.supervisor.HttpProbe;
import dev.baton.cli.supervisor.ProcessSpec;
import dev.baton.cli.supervisor.Readiness;
import dev.baton.worker.wire.HostPort;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** What {@code up} starts: the router first, then the workers, each as a command line. */
final class SystemLayout {

  private final UpCommand up;
  private final Path model;
  private final Ports ports;

  /** Ranks of the workers so far; each has a GPU where GPUs compute. */
  private int ranksPlaced;

  SystemLayout(UpCommand up, Path model, Ports ports) {
    this.up = up;
    this.model = model;
    this.ports = ports;
  }

  List<ProcessSpec> processes() {
    List<ProcessSpec> processes = new ArrayList<>();
    ranksPlaced = 0;
    processes.add(router());
    if (!up.aggregated) {
      for (int i = 0; i < up.prefill; i++) {
        processes.add(worker("prefill", i, up.prefillTensorParallel));
      }
    }
    for (int i = 0; i < up.decode; i++) {
      processes.add(worker("decode", i, up.decodeTensorParallel));
    }
    return processes;
  }

  private ProcessSpec router() {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "router",
                "--model",
                model.toString(),
                "--host",
                up.host,
                "--port",
                Integer.toString(ports.http()),
                "--grpc-port",
                Integer.toString(ports.grpc()),
                "--split-above",
                Integer.toString(up.splitAbove)));
    addProcessFlags(arguments);
    return new ProcessSpec("router", arguments, Map.of());
  }

  private ProcessSpec worker(String role, int index, @Nullable Integer ranks) {
    int count = ranks == null ? up.tensorParallel : ranks;
    List<String> arguments =
        new ArrayList<>(
            List.of(
                role,
                "--router",
                new HostPort(workerHost(), ports.grpc()).toString(),
                "--host",
                workerHost(),
                "--model",
                model.toString(),
                "--tp",
                Integer.toString(count)));
    if (up.aggregated) {
      arguments.add("--aggregated");
    }
    arguments.addAll(up.engine.arguments());
    arguments.addAll(up.engine.device.arguments(up.engine.device.share(ranksPlaced, count)));
    ranksPlaced += count;
    addProcessFlags(arguments);
    return new ProcessSpec(role + "-" + index, arguments, WorkerEnvironment.of(workerHost()));
  }

  /** Workers speak only to processes of this machine, even when the router listens to all. */
  private String workerHost() {
    return isWildcard(up.host) ? "127.0.0.1" : up.host;
  }

  private static boolean isWildcard(String host) {
    return host.equals("0.0.0.0") || host.equals("::");
  }

  private void addProcessFlags(List<String> arguments) {
    arguments.add("--exit-with-parent");
    arguments.add("--log-level");
    arguments.add(up.process.logLevel.name().toLowerCase(Locale.ROOT));
    if (up.peers.file != null) {
      arguments.add("--cluster-secret-file");
      arguments.add(up.peers.file.toAbsolutePath().toString());
    }
  }

  /** True once the router can serve a request and every worker has registered. */
  Readiness readiness() {
    HttpProbe probe =
        new HttpProbe(new InetSocketAddress(workerHost(), ports.http()), "/health/ready");
    return () -> probe.get().map(this::allRegistered).orElse(false);
  }

  /** Reads {@code "workers":{"prefill":1,"decode":1,"both":0}}. */
  private boolean allRegistered(String health) {
    return up.aggregated
        ? count(health, "both") >= up.decode
        : count(health, "prefill") >= up.prefill && count(health, "decode") >= up.decode;
  }

  private static int count(String health, String role) {
    Matcher matcher = Pattern.compile("\"" + role + "\"\\s*:\\s*(\\d+)").matcher(health);
    return matcher.find() ? Integer.parseInt(matcher.group(1)) : 0;
  }

  private String servedName() {
    return up.engine.servedName == null
        ? String.valueOf(model.getFileName())
        : up.engine.servedName;
  }

  /** The one line that tells a person how to go on. */
  String welcome(Path logs) {
    String address = "http://" + new HostPort(workerHost(), ports.http());
    return "baton: ready at %s (gRPC %d; logs: %s); try: curl %s/v1/completions -H 'content-type: application/json' -d '{\"model\": \"%s\", \"prompt\": \"Once upon a time\", \"max_tokens\": 64}'"
        .formatted(address, ports.grpc(), logs, address, servedName());
  }
}
