package dev.baton.simulation.cluster;

import dev.baton.router.session.Sessions;
import dev.baton.simulation.Trace;
import dev.baton.simulation.clock.VirtualTime;
import dev.baton.simulation.network.Network;
import dev.baton.simulation.network.TransportFaults;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;

/** A router and its workers on one clock and one network. */
public final class Cluster {

  /** The router's host. */
  public static final String ROUTER = "router";

  /**
   * What a cluster is made of.
   *
   * @param splitAbove prompts of more tokens go through a prefill worker
   * @param lateness probability that a message is late
   * @param faults of hand-off messages
   * @param window tokens that the model sees back, in all layers; 0 = all
   */
  public record Shape(
      List<WorkerShape> workers,
      int splitAbove,
      Sessions.Bounds bounds,
      double lateness,
      TransportFaults faults,
      double routerClockRate,
      int window) {

    public Shape {
      workers = List.copyOf(workers);
    }

    /** The same, of a model that sees so many tokens back. */
    public Shape withWindow(int tokens) {
      return new Shape(workers, splitAbove, bounds, lateness, faults, routerClockRate, tokens);
    }
  }

  private final VirtualTime time = new VirtualTime();
  private final Trace trace;
  private final Seams seams;
  private final Network network;
  private final TransportFaults faults;
  private final int window;
  private final RouterHost router;
  private final List<WorkerHost> workers = new ArrayList<>();
  private final List<String> breakdowns = new ArrayList<>();

  public Cluster(Shape shape, Seams seams, Trace trace, SplittableRandom random) {
    this.trace = trace;
    this.seams = seams;
    this.faults = shape.faults();
    this.window = shape.window();
    this.network = new Network(time, random.split(), shape.lateness(), trace);
    this.router = new RouterHost(this, shape, time, random.split());
    int prefills = 0;
    int decodes = 0;
    for (WorkerShape worker : shape.workers()) {
      String name =
          switch (worker.role()) {
            case PREFILL -> "p" + ++prefills;
            case DECODE -> "d" + ++decodes;
            case BOTH, ROLE_UNSPECIFIED, UNRECOGNIZED -> "b" + ++decodes;
          };
      WorkerHost host = new WorkerHost(this, name, worker, random.split());
      workers.add(host);
      host.boot();
    }
  }

  public VirtualTime time() {
    return time;
  }

  public Network network() {
    return network;
  }

  Seams seams() {
    return seams;
  }

  TransportFaults faults() {
    return faults;
  }

  /** Tokens that the model sees back; 0 = all. */
  int window() {
    return window;
  }

  public RouterHost router() {
    return router;
  }

  public List<WorkerHost> workers() {
    return List.copyOf(workers);
  }

  /** Whether notes are heard. */
  public boolean traced() {
    return trace.on();
  }

  /** Tells the trace. */
  public void note(String node, String what) {
    if (trace.on()) {
      trace.event(time.now(), node, what);
    }
  }

  /** A worker has broken down or a rule, which nothing that is simulated justifies. */
  void faulted(String what) {
    note("cluster", what);
    breakdowns.add(what);
  }

  /** What workers did that nothing justifies. */
  public List<String> breakdowns() {
    return Stream.concat(breakdowns.stream(), network.broken().stream()).toList();
  }

  /** What all workers have come to do. */
  public Reached reached() {
    return workers.stream()
        .map(WorkerHost::reached)
        .reduce(Reached.of(router.counts()), Reached::plus);
  }

  /** Gives all memory back. */
  public void close() {
    for (WorkerHost worker : workers) {
      WorkerLife life = worker.life();
      if (life != null) {
        life.process().die();
        life.free();
      }
    }
  }
}
