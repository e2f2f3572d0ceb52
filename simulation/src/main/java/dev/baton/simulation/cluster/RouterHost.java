package dev.baton.simulation.cluster;

import dev.baton.router.registry.RegistryService;
import dev.baton.router.registry.WorkerDirectory;
import dev.baton.router.session.Sessions;
import dev.baton.router.text.TextModel;
import dev.baton.simulation.clock.LaneTimer;
import dev.baton.simulation.clock.Process;
import dev.baton.simulation.clock.VirtualTime;
import dev.baton.simulation.network.GrpcChannel;
import dev.baton.simulation.network.GrpcServer;
import io.grpc.ManagedChannel;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;

/**
 * The host of the router without its fronts: registry and sessions, as in production. When the
 * router dies all it knew is lost; the next one begins with nothing, on the same port.
 */
public final class RouterHost {

  private static final long SECOND = 1_000_000_000L;
  private static final long SILENCE_CHECK_MILLIS = 50;

  private final Cluster cluster;
  private final Cluster.Shape shape;
  private final SplittableRandom random;
  private final SessionCounts counts = new SessionCounts();
  private final List<Runnable> onDeath = new ArrayList<>();
  private Process process;
  private WorkerDirectory directory;
  private Sessions sessions;

  RouterHost(Cluster cluster, Cluster.Shape shape, VirtualTime time, SplittableRandom random) {
    this.cluster = cluster;
    this.shape = shape;
    this.random = random;
    this.process = new Process(time, random, Cluster.ROUTER, shape.routerClockRate());
    this.directory = open(process);
    this.sessions = serve(process, directory);
  }

  private WorkerDirectory open(Process process) {
    return new WorkerDirectory(
        new Surroundings(cluster, process),
        () -> Instant.ofEpochSecond(process.nanoTime() / SECOND),
        process::nanoTime);
  }

  private Sessions serve(Process process, WorkerDirectory directory) {
    LaneTimer timer = new LaneTimer(process);
    Sessions opened =
        new Sessions(
            directory, shape.splitAbove(), shape.bounds(), timer, process::nanoTime, counts);
    timer.scheduleWithFixedDelay(
        directory::checkSilence, SILENCE_CHECK_MILLIS, SILENCE_CHECK_MILLIS, TimeUnit.MILLISECONDS);
    new GrpcServer(
        cluster.network(),
        process,
        Cluster.ROUTER + ":1",
        20 * SECOND,
        List.of(new RegistryService(directory)),
        List.of());
    return opened;
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

  /** SIGKILL. */
  public void kill() {
    if (!process.dead()) {
      cluster.note(Cluster.ROUTER, "dies");
      process.die();
      cluster.network().died(process);
      onDeath.forEach(Runnable::run);
    }
  }

  /** Starts a router where none runs. */
  public void boot() {
    if (process.dead()) {
      cluster.note(Cluster.ROUTER, "starts");
      process =
          new Process(cluster.time(), random.split(), Cluster.ROUTER, shape.routerClockRate());
      directory = open(process);
      sessions = serve(process, directory);
    }
  }

  /** Has the action run whenever a router has died. */
  public void onDeath(Runnable action) {
    onDeath.add(action);
  }

  /** The router's process, dead or alive. */
  public Process process() {
    return process;
  }

  public WorkerDirectory directory() {
    return directory;
  }

  public Sessions sessions() {
    return sessions;
  }

  /** What has come off, in all its lives. */
  SessionCounts counts() {
    return counts;
  }
}
