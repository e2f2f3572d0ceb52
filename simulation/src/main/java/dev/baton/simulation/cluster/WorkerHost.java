package dev.baton.simulation.cluster;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.worker.v1.Role;
import dev.baton.simulation.clock.Process;
import dev.baton.simulation.clock.VirtualTime;
import dev.baton.worker.wire.Failures;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/**
 * A host on which a worker runs, dies, and is started anew, each time as a new process that knows
 * nothing of the one before; sometimes on the same port.
 */
public final class WorkerHost {

  /** Whoever looks after the process starts it anew so soon. */
  private static final long RESTART_NANOS = 500_000_000;

  private final Cluster cluster;
  private final String name;
  private final WorkerShape shape;
  private final SplittableRandom random;
  private @Nullable WorkerLife life;
  private int lives;
  private int port = 5000;
  private Reached reached = Reached.NOTHING;

  WorkerHost(Cluster cluster, String name, WorkerShape shape, SplittableRandom random) {
    this.cluster = cluster;
    this.name = name;
    this.shape = shape;
    this.random = random;
  }

  public String name() {
    return name;
  }

  public WorkerShape shape() {
    return shape;
  }

  /** What runs here now; null while nothing does. */
  public @Nullable WorkerLife life() {
    return life;
  }

  /** What all workers here have come to do. */
  Reached reached() {
    return life == null ? reached : reached.plus(life.reached());
  }

  /** Starts a worker where none runs. */
  public void boot() {
    if (life != null) {
      return;
    }
    lives++;
    if (random.nextInt(3) > 0) {
      port++;
    }
    VirtualTime time = cluster.time();
    Process process = new Process(time, random.split(), name, shape.clockRate());
    WorkerLife started = new WorkerLife(cluster, process, shape, port, lives, random.split());
    life = started;
    cluster.note(name, "starts as " + started.core().id());
    started.start(fatal -> process.after(1_000_000, () -> failed(started, fatal)));
  }

  /** A worker that says that it can never serve again ends its process, and is started anew. */
  private void failed(WorkerLife which, String why) {
    if (life == which) {
      cluster.faulted(name + " gave up: " + why);
      kill();
      bootSoon();
    }
  }

  /** SIGKILL. */
  public void kill() {
    WorkerLife dying = life;
    if (dying != null) {
      life = null;
      cluster.note(name, "dies");
      dying.process().die();
      cluster.network().died(dying.process());
      reached = reached.plus(dying.reached());
      dying.free();
    }
  }

  /** Tells the worker over its control service to change its role, as an operator does. */
  public void changeRole(Role role) {
    WorkerLife changing = life;
    if (changing != null) {
      cluster.note(name, "is to become " + role);
      changing.changeRole(role);
    }
  }

  /** SIGTERM with a grace: drains, ends, and is started anew. */
  public void terminate(long graceNanos) {
    WorkerLife leaving = life;
    if (leaving == null) {
      return;
    }
    cluster.note(name, "drains");
    leaving
        .process()
        .run(
            () -> {
              leaving
                  .core()
                  .sessions()
                  .drain(Failures.of(ErrorCode.DRAINING, "worker: draining (expected: another)"))
                  .thenRun(() -> leaving.process().after(1_000_000, () -> end(leaving)));
              leaving.core().registry().reportNow();
              leaving.process().after(graceNanos, () -> end(leaving));
            });
  }

  private void end(WorkerLife leaving) {
    if (life == leaving) {
      kill();
      bootSoon();
    }
  }

  private void bootSoon() {
    cluster.time().at(cluster.time().now() + RESTART_NANOS, this::boot);
  }
}
