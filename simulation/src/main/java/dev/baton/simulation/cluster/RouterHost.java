package dev.baton.simulation.cluster;

import dev.baton.router.registry.RegistryService;
import dev.baton.router.registry.WorkerDirectory;
import dev.baton.router.session.Sessions;
import dev.baton.router.text.TextModel;
import dev.baton.simulation.clock.LaneTimer;
import dev.baton.simulation.clock.Process;
import dev.baton.simulation.network.GrpcChannel;
import dev.baton.simulation.network.GrpcServer;
import io.grpc.ManagedChannel;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The router without its fronts: registry and sessions, as in production. It never dies. */
public final class RouterHost {

  private static final long SECOND = 1_000_000_000L;
  private static final long SILENCE_CHECK_MILLIS = 50;

  private final Process process;
  private final WorkerDirectory directory;
  private final Sessions sessions;

  RouterHost(Cluster cluster, Process process, int splitAbove, Sessions.Bounds bounds) {
    this.process = process;
    LaneTimer timer = new LaneTimer(process);
    this.directory =
        new WorkerDirectory(
            new Surroundings(cluster, process),
            () -> Instant.ofEpochSecond(process.nanoTime() / SECOND),
            process::nanoTime);
    this.sessions =
        new Sessions(directory, splitAbove, bounds, timer, process::nanoTime, new Unobserved());
    timer.scheduleWithFixedDelay(
        directory::checkSilence, SILENCE_CHECK_MILLIS, SILENCE_CHECK_MILLIS, TimeUnit.MILLISECONDS);
    new GrpcServer(
        cluster.network(),
        process,
        Cluster.ROUTER + ":1",
        20 * SECOND,
        List.of(new RegistryService(directory)),
        List.of());
  }

  private record Surroundings(Cluster cluster, Process process)
      implements WorkerDirectory.Surroundings {

    @Override
    public TextModel loadText(Path directory) {
      return new NoText();
    }

    @Override
    public ManagedChannel connect(String address) {
      return new GrpcChannel(
          cluster.network(),
          process,
          address,
          11 * SECOND,
          Runnable::run,
          cluster.seams().routerCalls());
    }
  }

  public Process process() {
    return process;
  }

  public WorkerDirectory directory() {
    return directory;
  }

  public Sessions sessions() {
    return sessions;
  }
}
