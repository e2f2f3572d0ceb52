package dev.baton.simulation;

import dev.baton.proto.worker.v1.Role;
import dev.baton.simulation.clock.Process;
import dev.baton.simulation.cluster.Cluster;
import dev.baton.simulation.cluster.WorkerHost;
import dev.baton.simulation.cluster.WorkerLife;
import java.util.List;

/** Makes faults happen, and ends them. */
final class FaultInjector {

  private static final double SLOWNESS = 10;

  private static final long AGAIN_NANOS = 1_000_000_000L;

  private final Cluster cluster;

  FaultInjector(Cluster cluster) {
    this.cluster = cluster;
  }

  void schedule(List<Fault> faults) {
    long calm = faults.stream().mapToLong(Fault::to).max().orElse(0);
    for (Fault fault : faults) {
      cluster.time().at(fault.from(), () -> begin(fault));
      if (fault.kind() == Fault.Kind.CHANGE_ROLE) {
        // The word to change back may have been lost; an operator would say it again.
        WorkerHost worker = cluster.workers().get(fault.worker());
        cluster.time().at(calm + AGAIN_NANOS, () -> worker.changeRole(worker.shape().role()));
      }
    }
  }

  private void begin(Fault fault) {
    WorkerHost worker = cluster.workers().get(fault.worker());
    String other = cluster.workers().get(fault.other()).name();
    cluster.note(worker.name(), "fault: " + fault.kind());
    switch (fault.kind()) {
      case KILL -> {
        worker.kill();
        end(fault, worker::boot);
      }
      case TERMINATE -> worker.terminate(fault.nanos() / 2);
      case FREEZE -> {
        WorkerLife life = worker.life();
        if (life != null) {
          freeze(fault, life.process());
        }
      }
      case FREEZE_ROUTER -> freeze(fault, cluster.router().process());
      case KILL_ROUTER -> {
        cluster.router().kill();
        end(fault, cluster.router()::boot);
      }
      case DEAF_TO_WORKER -> {
        cluster.network().part(worker.name(), other);
        end(fault, () -> cluster.network().join(worker.name(), other));
      }
      case DEAF_TO_WORKERS -> {
        List<String> others =
            cluster.workers().stream()
                .map(WorkerHost::name)
                .filter(n -> !n.equals(worker.name()))
                .toList();
        others.forEach(name -> cluster.network().part(name, worker.name()));
        end(fault, () -> others.forEach(name -> cluster.network().join(name, worker.name())));
      }
      case PART_FROM_ROUTER -> {
        part(worker.name(), Cluster.ROUTER);
        end(fault, () -> join(worker.name(), Cluster.ROUTER));
      }
      case DEAF_TO_ROUTER -> {
        cluster.network().part(Cluster.ROUTER, worker.name());
        end(fault, () -> cluster.network().join(Cluster.ROUTER, worker.name()));
      }
      case PART_FROM_WORKER -> {
        part(worker.name(), other);
        end(fault, () -> join(worker.name(), other));
      }
      case CUT -> cluster.network().cut(worker.name(), Cluster.ROUTER);
      case HALF_CUT -> cluster.network().halfCut(worker.name(), Cluster.ROUTER);
      case CUT_WIRES -> cluster.network().cutWires(worker.name(), other);
      case CHANGE_ROLE -> {
        Role own = worker.shape().role();
        worker.changeRole(
            fault.other() % 2 == 0 ? Role.BOTH : own == Role.DECODE ? Role.PREFILL : Role.DECODE);
        end(fault, () -> worker.changeRole(own));
      }
      case WEDGE -> {
        WorkerLife life = worker.life();
        if (life != null) {
          life.turns().wedge();
          end(fault, () -> life.process().run(life.turns()::unwedge));
        }
      }
      case SLOW -> {
        WorkerLife life = worker.life();
        if (life != null) {
          life.slow(SLOWNESS);
          end(fault, () -> life.slow(1));
        }
      }
    }
  }

  private void end(Fault fault, Runnable undo) {
    cluster
        .time()
        .at(
            fault.to(),
            () -> {
              cluster.note(
                  cluster.workers().get(fault.worker()).name(), "end of fault: " + fault.kind());
              undo.run();
            });
  }

  private void freeze(Fault fault, Process process) {
    if (!process.runs()) {
      return;
    }
    process.freeze();
    cluster.network().silenced(process);
    end(fault, process::thaw);
  }

  private void part(String one, String other) {
    cluster.network().part(one, other);
    cluster.network().part(other, one);
  }

  private void join(String one, String other) {
    cluster.network().join(one, other);
    cluster.network().join(other, one);
  }
}
