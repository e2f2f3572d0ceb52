package dev.baton.cli;

import dev.baton.cli.lifecycle.ParentWatch;
import dev.baton.cli.lifecycle.StopSignals;
import dev.baton.cli.supervisor.Launcher;
import dev.baton.cli.supervisor.Supervisor;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code baton up}: a whole system on this machine, one process per worker. */
@Command(
    name = "up",
    mixinStandardHelpOptions = true,
    description = "Starts a router and workers on this machine and stays until Ctrl-C.",
    footer = {
      "",
      "Clients reach it by the OpenAI API at http://HOST:PORT/v1 and by gRPC at HOST:GRPC_PORT;",
      "Prometheus reads http://HOST:PORT/metrics. ./baton generate is a client for the shell,",
      "./baton prefill and ./baton decode with --router HOST:GRPC_PORT add workers at any time."
    })
final class UpCommand implements Callable<Integer> {

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description = "Hugging Face model directory. Default: the small model of the repository.")
  @Nullable Path model;

  @Option(names = "--prefill", paramLabel = "N", description = "Prefill workers. Default: 1.")
  int prefill = 1;

  @Option(names = "--decode", paramLabel = "N", description = "Decode workers. Default: 1.")
  int decode = 1;

  @Option(
      names = "--aggregated",
      description = "--decode workers with both roles, and no hand-off.")
  boolean aggregated;

  @Option(
      names = "--tp",
      paramLabel = "N",
      description = "Ranks of each worker: 1, 2, 4 or 8. Default: 1.")
  int tensorParallel = 1;

  @Option(names = "--prefill-tp", paramLabel = "N", description = "... of prefill workers.")
  @Nullable Integer prefillTensorParallel;

  @Option(names = "--decode-tp", paramLabel = "N", description = "... of decode workers.")
  @Nullable Integer decodeTensorParallel;

  @Option(
      names = "--split-above",
      paramLabel = "TOKENS",
      description = "Shorter prompts stay on the decode worker; 0 = always split. Default: 0.")
  int splitAbove = 0;

  @Option(
      names = "--host",
      paramLabel = "HOST",
      description = "Address to listen on. Default: 127.0.0.1.")
  String host = "127.0.0.1";

  @Option(names = "--port", paramLabel = "N", description = "HTTP; 0 = any free. Default: 8080.")
  int port = 8080;

  @Option(
      names = "--grpc-port",
      paramLabel = "N",
      description = "gRPC; 0 = any free. Default: 9090.")
  int grpcPort = 9090;

  @Option(
      names = "--log-dir",
      paramLabel = "DIR",
      description = "Where each process's log goes. Default: a new one in ~/.local/state/baton.")
  @Nullable Path logDirectory;

  @Option(
      names = "--start-timeout",
      paramLabel = "SECONDS",
      description = "Longest time until requests can be served. Default: 600.")
  int startTimeout = 600;

  @Option(
      names = "--grace",
      paramLabel = "SECONDS",
      description = "Time for requests under way when stopping. Default: 10.")
  int grace = 10;

  @Mixin PeerFlags peers = new PeerFlags();

  @Mixin EngineFlags engine = new EngineFlags();

  @Mixin ProcessFlags process = new ProcessFlags();

  @Override
  public Integer call() throws InterruptedException {
    check();
    Path directory = Options.modelDirectory(model);
    Preflight.checkMemory(directory, engine, aggregated ? decode : prefill + decode);
    peers.secret();
    Ports ports = Ports.choose(host, port, grpcPort);
    Path logs = LogDirectory.create(logDirectory);
    SystemLayout layout = new SystemLayout(this, directory, ports);
    Supervisor supervisor =
        new Supervisor(
            layout.processes(),
            Launcher.ofThisProcess(System.getenv()),
            logs,
            layout.readiness(),
            Duration.ofSeconds(startTimeout),
            Duration.ofSeconds(grace),
            System.err);
    StopSignals.install(supervisor::stop, supervisor::stopAtOnce, true);
    if (process.exitWithParent) {
      ParentWatch.start(System.in);
    }
    return supervisor.run(() -> System.out.println(layout.welcome(logs)));
  }

  private void check() {
    Options.checkAtLeast("--prefill", prefill, 1);
    Options.checkAtLeast("--decode", decode, 1);
    Options.checkTensorParallel("--tp", tensorParallel);
    Options.checkTensorParallel("--prefill-tp", prefillTensorParallel);
    Options.checkTensorParallel("--decode-tp", decodeTensorParallel);
    Options.checkAtLeast("--split-above", splitAbove, 0);
    Options.checkAtLeast("--start-timeout", startTimeout, 1);
    Options.checkAtLeast("--grace", grace, 0);
    Options.checkPort("--port", port);
    Options.checkPort("--grpc-port", grpcPort);
    engine.check();
  }
}
