package dev.baton.cli;

import dev.baton.worker.wire.HostPort;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Options of one worker process. */
final class WorkerFlags {

  @Option(
      names = "--router",
      paramLabel = "HOST:PORT",
      description = "The router's gRPC address; tried until it is up. Default: 127.0.0.1:9090.")
  HostPort router = new HostPort("127.0.0.1", 9090);

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description = "Hugging Face model directory. Default: the small model of the repository.")
  @Nullable Path model;

  @Option(
      names = "--tp",
      paramLabel = "N",
      description = "Ranks of the worker: 1, 2, 4 or 8. Default: 1.")
  int tensorParallel = 1;

  @Option(
      names = "--host",
      paramLabel = "HOST",
      description =
          "Address to listen on and to register; auto = that of this machine's name, as in a"
              + " container. Default: 127.0.0.1.")
  String host = "127.0.0.1";

  @Option(
      names = "--grpc-port",
      paramLabel = "N",
      description = "The worker's own gRPC port; 0 = any free. Default: 0.")
  int grpcPort = 0;

  @Option(
      names = "--register-as",
      paramLabel = "HOST:PORT",
      description =
          "Where the router reaches the worker's gRPC port, behind a mapped port or a proxy."
              + " Default: where it listens.")
  @Nullable HostPort registerAs;

  @Option(
      names = "--transfer-port",
      paramLabel = "N",
      description = "Port on which KV arrives; 0 = any free. Default: 0.")
  int transferPort = 0;

  @Option(
      names = "--metrics-port",
      paramLabel = "N",
      description = "GET /metrics of this worker; 0 = none. Default: 0.")
  int metricsPort = 0;

  @Option(
      names = "--drain-grace",
      paramLabel = "SECONDS",
      description = "How long sessions may finish after SIGTERM. Default: 30.")
  int drainGrace = 30;

  // UCX reads its environment when it is loaded: ./baton asks for it first and sets what is not
  // set.
  @Option(names = "--print-environment", hidden = true)
  boolean printEnvironment;

  void check() {
    Options.checkTensorParallel("--tp", tensorParallel);
    Options.checkPort("--grpc-port", grpcPort);
    Options.checkPort("--transfer-port", transferPort);
    Options.checkPort("--metrics-port", metricsPort);
    Options.checkAtLeast("--drain-grace", drainGrace, 0);
  }
}
