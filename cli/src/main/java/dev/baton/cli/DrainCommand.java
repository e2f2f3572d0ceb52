package dev.baton.cli;

import dev.baton.proto.worker.v1.DrainProgress;
import dev.baton.proto.worker.v1.DrainWorkerRequest;
import dev.baton.worker.wire.HostPort;
import java.time.Duration;
import java.util.Iterator;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code baton drain}: empties one worker, its sessions going on at others. */
@Command(
    name = "drain",
    mixinStandardHelpOptions = true,
    description = "Moves a worker's sessions to others and gives it nothing new.",
    footer = {
      "",
      "Ends when the worker is empty; it can be stopped then. SIGTERM to a worker does the same and"
          + " stops",
      "it. Names of workers are in /metrics and in the router's log."
    })
final class DrainCommand implements Callable<Integer> {

  @Parameters(paramLabel = "WORKER", description = "Its name, such as decode-7f3a9c.")
  String worker = "";

  @Option(
      names = "--within",
      paramLabel = "TIME",
      converter = TimeSpan.class,
      description =
          "After this long, such as 30s, sessions still there go on elsewhere from their tokens."
              + " Default: as long as they take.")
  Duration within = Duration.ZERO;

  @Option(
      names = "--router",
      paramLabel = "HOST:PORT",
      description = "The router's gRPC address. Default: 127.0.0.1:9090.")
  HostPort router = new HostPort("127.0.0.1", 9090);

  @Mixin PeerFlags peers = new PeerFlags();

  @Override
  public Integer call() {
    RouterCalls.call(
        router,
        peers,
        stub -> {
          Iterator<DrainProgress> progress =
              stub.drainWorker(
                  DrainWorkerRequest.newBuilder()
                      .setWorkerId(worker)
                      .setDeadlineMillis(within.toMillis())
                      .build());
          while (progress.hasNext()) {
            DrainProgress now = progress.next();
            if (!now.getNote().isEmpty()) {
              System.err.println("baton: " + now.getNote());
            }
            System.out.printf("%s: %d sessions left%n", worker, now.getSessionsLeft());
          }
        });
    return 0;
  }
}
