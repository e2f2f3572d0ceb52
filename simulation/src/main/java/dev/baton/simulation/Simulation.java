package dev.baton.simulation;

import dev.baton.simulation.cluster.Cluster;
import dev.baton.simulation.cluster.Seams;
import dev.baton.simulation.cluster.WorkerHost;
import dev.baton.simulation.cluster.WorkerLife;
import dev.baton.simulation.model.PlainRun;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;

/**
 * One run: draws a {@link Scenario} from a seed, lets it happen, and judges it.
 *
 * <p>Watched all along: every token is the right one, once and in order; every request ends by its
 * deadline, and with a failure only where a fault excuses it; nothing that production code calls
 * throws; no worker breaks down; nothing grows without bound. When all requests have ended and all
 * faults are over, every worker must come to hold nothing.
 */
public final class Simulation {

  private static final long SECOND = 1_000_000_000L;

  /** After the last request and the last fault, all is free by then. */
  private static final long SETTLING_NANOS = 30 * SECOND;

  private static final long WATCH_NANOS = SECOND / 20;

  /** A client that goes away costs nothing after that. */
  private static final long FREED_NANOS = SECOND / 4;

  /** A session whose router died costs nothing after that. */
  private static final long ORPHANED_NANOS = SECOND;

  /** Far more events than a cluster of this size can have open at a time. */
  private static final int MOST_PENDING = 20_000;

  private final long seed;
  private final Scenario scenario;
  private final Cluster cluster;
  private final Judge judge;
  private final List<Client> clients = new ArrayList<>();
  private final long calmAt;
  private long doneAt = Long.MAX_VALUE;
  private boolean settled;

  private Simulation(long seed, Seams seams, Trace trace, PlainRun plain) {
    this.seed = seed;
    SplittableRandom random = new SplittableRandom(seed);
    this.scenario = Scenario.draw(random.split());
    this.judge = new Judge(scenario);
    this.cluster = new Cluster(scenario.cluster(), seams, trace, random.split());
    this.calmAt = scenario.faults().stream().mapToLong(Fault::to).max().orElse(0);
    for (Scenario.Request request : scenario.requests()) {
      Client client =
          new Client(cluster, request, plain, judge, routerStandsStill(), this::lostRouter);
      clients.add(client);
      client.schedule();
    }
    new FaultInjector(cluster).schedule(scenario.faults());
    cluster.time().at(SECOND / 2, this::watch);
  }

  private long routerStandsStill() {
    return scenario.faults().stream()
        .filter(fault -> fault.kind() == Fault.Kind.FREEZE_ROUTER)
        .mapToLong(Fault::nanos)
        .sum();
  }

  /**
   * Runs a seed.
   *
   * @param seams what is wrapped, by tests
   */
  public static Verdict run(long seed, Seams seams, Trace trace) {
    Simulation simulation = new Simulation(seed, seams, trace, new PlainRun());
    try {
      return simulation.run();
    } finally {
      simulation.cluster.close();
    }
  }

  /** The scenario of a seed, to be shown. */
  public static Scenario scenario(long seed) {
    return Scenario.draw(new SplittableRandom(seed).split());
  }

  private Verdict run() {
    try {
      while (!settled && !judge.failed() && cluster.time().step(Long.MAX_VALUE - 1)) {
        if (cluster.time().pending() > MOST_PENDING) {
          judge.violated(cluster.time().pending() + " events pending (expected: a few hundred)");
        }
      }
    } catch (RuntimeException | Error e) {
      StringWriter text = new StringWriter();
      e.printStackTrace(new PrintWriter(text));
      judge.violated("escaped: " + text);
    }
    return new Verdict(
        seed,
        cluster.time().eventsRun(),
        cluster.time().now(),
        cluster.reached(),
        judge.violation());
  }

  /** Looks at the whole, every now and then. */
  private void watch() {
    long now = cluster.time().now();
    cluster.breakdowns().forEach(judge::violated);
    checkLeaks();
    if (scenario.calm()) {
      clients.forEach(client -> checkFreed(client, now));
    }
    if (now > calmAt && clients.stream().allMatch(Client::ended)) {
      doneAt = Math.min(doneAt, now);
      Optional<String> open = open();
      if (open.isEmpty()) {
        checkIntegrity();
        settled = true;
      } else if (now - doneAt > SETTLING_NANOS) {
        judge.violated("%d s after the end: %s".formatted(SETTLING_NANOS / SECOND, open.get()));
      }
    }
    cluster.time().at(now + WATCH_NANOS, this::watch);
  }

  /** A worker finds what nobody answers for, and never has to. */
  private void checkLeaks() {
    for (WorkerHost worker : cluster.workers()) {
      WorkerLife life = worker.life();
      if (life != null) {
        life.leak().ifPresent(leak -> judge.violated(worker.name() + " leaks " + leak));
      }
    }
  }

  /** A session whose router has died; where nothing else is wrong its workers hear of it. */
  private void lostRouter(String session) {
    boolean alone =
        scenario.faults().stream().allMatch(fault -> fault.kind() == Fault.Kind.KILL_ROUTER);
    if (alone && scenario.cluster().faults().none()) {
      cluster.time().at(cluster.time().now() + ORPHANED_NANOS, () -> checkNobodyHolds(session));
    }
  }

  private void checkNobodyHolds(String session) {
    for (WorkerHost worker : cluster.workers()) {
      WorkerLife life = worker.life();
      if (life != null) {
        life.heldFor(session)
            .ifPresent(
                held ->
                    judge.violated(
                        "%s has %s, %d ms after its router died"
                            .formatted(worker.name(), held, ORPHANED_NANOS / 1_000_000)));
      }
    }
  }

  /** A session that its client left must have left the workers soon. */
  private void checkFreed(Client client, long now) {
    if (client.gone() && now - client.endedAt() > FREED_NANOS) {
      String id = client.request().id();
      for (WorkerHost worker : cluster.workers()) {
        WorkerLife life = worker.life();
        if (life != null && life.serves(id)) {
          judge.violated(
              "%s is still served by %s, %d ms after its client went away"
                  .formatted(id, worker.name(), (now - client.endedAt()) / 1_000_000));
        }
      }
    }
  }

  /** What is still held although all requests have ended. */
  private Optional<String> open() {
    if (!cluster.router().process().dead() && cluster.router().sessions().active() > 0) {
      return Optional.of("the router has " + cluster.router().sessions().active() + " sessions");
    }
    for (WorkerHost worker : cluster.workers()) {
      WorkerLife life = worker.life();
      if (life == null) {
        return Optional.of(worker.name() + " is not there");
      }
      Optional<String> held = life.open();
      if (held.isPresent()) {
        return Optional.of(worker.name() + " holds " + held.get());
      }
    }
    return Optional.empty();
  }

  private void checkIntegrity() {
    for (WorkerHost worker : cluster.workers()) {
      WorkerLife life = worker.life();
      if (life != null) {
        life.engine().checkIntegrity();
      }
    }
  }
}
