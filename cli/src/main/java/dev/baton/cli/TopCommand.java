package dev.baton.cli;

import dev.baton.cli.top.Screen;
import dev.baton.peer.PeerAuthentication;
import dev.baton.proto.router.v1.ClusterSnapshot;
import dev.baton.proto.router.v1.ClusterViewGrpc;
import dev.baton.proto.router.v1.WatchRequest;
import dev.baton.worker.wire.HostPort;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.PrintStream;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code baton top}: what a running system does, live. */
@Command(
    name = "top",
    mixinStandardHelpOptions = true,
    description =
        "Shows workers, their blocks and hand-offs, and sessions of a running system, live; Ctrl-C"
            + " ends it.")
final class TopCommand implements Callable<Integer> {

  private static final String CLEAR = "\033[H\033[J";

  /** Rows of a terminal that do not tell their number. */
  private static final int ROWS = 50;

  @Option(
      names = "--router",
      paramLabel = "HOST:PORT",
      description = "gRPC address of the router. Default: 127.0.0.1:9090.")
  HostPort router = new HostPort("127.0.0.1", 9090);

  @Option(
      names = "--interval",
      paramLabel = "MS",
      description = "Milliseconds between two looks, 100 to 60000. Default: 1000.")
  int intervalMillis = 1000;

  @Option(
      names = "--sessions",
      paramLabel = "N",
      description = "Sessions shown at most, the oldest first. Default: 20.")
  int sessions = 20;

  @Option(
      names = "--count",
      paramLabel = "N",
      description = "Ends after N looks; 0 = never. With 1 there are no rates. Default: 0.")
  int count = 0;

  @Mixin PeerFlags peers = new PeerFlags();

  @Override
  public Integer call() {
    if (intervalMillis < 100 || intervalMillis > 60_000) {
      throw CommandFailure.usage(
          "--interval: %d (expected: 100 to 60000)".formatted(intervalMillis));
    }
    Options.checkAtLeast("--sessions", sessions, 0);
    Options.checkAtLeast("--count", count, 0);
    ManagedChannel channel =
        Grpc.newChannelBuilder(router.toString(), InsecureChannelCredentials.create())
            .intercept(new PeerAuthentication(peers.secret()).client())
            .build();
    try {
      watch(channel, System.out);
      return 0;
    } catch (StatusRuntimeException e) {
      throw CommandFailure.failed(explain(e.getStatus()));
    } finally {
      channel.shutdownNow();
    }
  }

  private void watch(ManagedChannel channel, PrintStream out) {
    WatchRequest request =
        WatchRequest.newBuilder()
            .setIntervalMillis(intervalMillis)
            .setMaxSessions(sessions)
            .build();
    Iterator<ClusterSnapshot> snapshots = ClusterViewGrpc.newBlockingStub(channel).watch(request);
    boolean terminal = System.console() != null && System.console().isTerminal();
    Screen screen = new Screen();
    for (int shown = 0; (count == 0 || shown < count) && snapshots.hasNext(); shown++) {
      List<String> lines = screen.lines(snapshots.next());
      if (terminal) {
        out.print(CLEAR);
        lines = lines.subList(0, Math.min(lines.size(), rows() - 1));
      } else if (shown > 0) {
        out.println();
      }
      lines.forEach(out::println);
      out.flush();
    }
  }

  private static int rows() {
    String lines = System.getenv("LINES");
    return lines != null && lines.matches("[1-9]\\d{0,3}") ? Integer.parseInt(lines) : ROWS;
  }

  private String explain(Status status) {
    return switch (status.getCode()) {
      case UNAVAILABLE ->
          "no router answers at %s (expected: --router HOST:PORT)".formatted(router);
      case UNAUTHENTICATED ->
          "%s: %s; see --cluster-secret-file".formatted(router, status.getDescription());
      default -> "%s: %s".formatted(router, status.getDescription());
    };
  }
}
