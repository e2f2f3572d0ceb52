package dev.baton.simulation;

import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.proto.worker.v1.Role;
import dev.baton.router.session.Sessions;
import dev.baton.simulation.cluster.Cluster;
import dev.baton.simulation.cluster.WorkerShape;
import dev.baton.simulation.model.HashModel;
import dev.baton.simulation.network.TransportFaults;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/**
 * What a seed makes happen: a cluster, what clients ask of it, and what goes wrong. A third of the
 * seeds are calm: nothing goes wrong, so nothing may.
 *
 * @param tightQueue the admission queue is so short that requests may be refused
 */
public record Scenario(
    Cluster.Shape cluster, List<Request> requests, List<Fault> faults, boolean tightQueue) {

  /**
   * What a client asks.
   *
   * @param at nanoseconds of its arrival
   * @param cancelAfter nanoseconds after which the client goes away; {@link Long#MAX_VALUE} = never
   * @param pauseAfter tokens after which the client reads nothing for a while; 0 = never
   * @param stopAfter tokens after which a stop string is there; 0 = never
   */
  public record Request(
      String id,
      long at,
      int[] prompt,
      SamplingParameters sampling,
      long deadlineMillis,
      String cacheSalt,
      int priority,
      long cancelAfter,
      int pauseAfter,
      int stopAfter) {

    /** The same prompt behind a prefix, as far as the context has room. */
    Request after(int[] prefix) {
      int kept = Math.min(prompt.length, LONG_PREFIX / 4);
      int[] longer = Arrays.copyOf(prefix, prefix.length + kept);
      System.arraycopy(prompt, 0, longer, prefix.length, kept);
      return new Request(
          id,
          at,
          longer,
          sampling,
          deadlineMillis,
          "",
          priority,
          cancelAfter,
          pauseAfter,
          stopAfter);
    }

    /** The same with as many tokens as there may be. */
    Request lasting() {
      return new Request(
          id,
          at,
          prompt,
          sampling.toBuilder().setMaxTokens(MOST_TOKENS).setIgnoreEos(true).build(),
          deadlineMillis,
          cacheSalt,
          priority,
          cancelAfter,
          pauseAfter,
          0);
    }

    Request stoppedAfter(int tokens) {
      return new Request(
          id,
          at,
          prompt,
          sampling,
          deadlineMillis,
          cacheSalt,
          priority,
          cancelAfter,
          pauseAfter,
          tokens);
    }

    /** The deadline leaves time for all faults to pass. */
    public boolean generous() {
      return deadlineMillis == GENEROUS_DEADLINE_MILLIS;
    }
  }

  private static final long SECOND = 1_000_000_000L;

  /** Tokens that cost more to compute than to fetch, in some clusters. */
  private static final int LONG_PREFIX = 160;

  private static final int MOST_TOKENS = 200;

  private static final long GENEROUS_DEADLINE_MILLIS = 120_000;

  public Scenario {
    requests = List.copyOf(requests);
    faults = List.copyOf(faults);
  }

  /** Nothing goes wrong between processes. */
  public boolean calm() {
    return faults.isEmpty() && cluster.faults().none();
  }

  static Scenario draw(SplittableRandom random) {
    boolean calm = random.nextInt(3) == 0;
    List<WorkerShape> workers = new ArrayList<>();
    int prefills = 1 + random.nextInt(2);
    int decodes = 1 + random.nextInt(3);
    for (int i = 0; i < prefills; i++) {
      workers.add(WorkerShape.draw(random, Role.PREFILL));
    }
    for (int i = 0; i < decodes; i++) {
      workers.add(WorkerShape.draw(random, Role.DECODE));
    }
    boolean tightQueue = random.nextInt(10) == 0;
    Cluster.Shape cluster =
        new Cluster.Shape(
            workers,
            random.nextInt(3) * 24,
            tightQueue
                ? new Sessions.Bounds(4, 1, 300)
                : new Sessions.Bounds(64, 32, 4 * GENEROUS_DEADLINE_MILLIS),
            random.nextInt(3) * 0.02,
            calm || random.nextBoolean() ? TransportFaults.NONE : faults(random),
            1 + (random.nextDouble() - 0.5) / 50,
            0);
    List<Fault> faults = new ArrayList<>();
    if (!calm) {
      int count = random.nextInt(5);
      for (int i = 0; i < count; i++) {
        faults.add(Fault.draw(random, workers.size()));
      }
    }
    List<Request> requests = requests(random);
    // What was thought of later is drawn last, so that seeds of before stay nearly what they were.
    SplittableRandom more = random.split();
    if (!calm && more.nextInt(6) == 0) {
      faults.add(killedRouter(more));
    }
    if (!calm && more.nextInt(8) == 0) {
      faults.add(Fault.draw(Fault.Kind.DEAF_TO_WORKER, more, workers.size()));
    }
    requests.replaceAll(
        request -> more.nextInt(12) == 0 ? request.stoppedAfter(1 + more.nextInt(20)) : request);
    if (more.nextInt(3) == 0) {
      int[] longPrefix = tokens(more, LONG_PREFIX);
      requests.replaceAll(request -> more.nextInt(4) > 0 ? request.after(longPrefix) : request);
    }
    if (!calm && more.nextInt(12) == 0) {
      faults.add(deafToWorkers(more, workers.size()));
    }
    boolean left = decodes > 1 && more.nextInt(4) == 0;
    if (left) {
      Request one = requests.get(more.nextInt(requests.size()));
      faults.add(leftByItsSessions(more, one.at, prefills + more.nextInt(decodes)));
    }
    // What befalls sessions in the middle finds more of them there.
    boolean killed = faults.stream().anyMatch(fault -> fault.kind() == Fault.Kind.KILL_ROUTER);
    if (left || killed) {
      requests.replaceAll(request -> more.nextInt(3) > 0 ? request.lasting() : request);
    }
    if (more.nextInt(5) == 0) {
      cluster = cluster.withWindow(2 + more.nextInt(100));
    }
    return new Scenario(cluster, requests, faults, tightQueue);
  }

  /** Nobody leaves a router dead for long. */
  private static Fault killedRouter(SplittableRandom random) {
    return new Fault(
        Fault.Kind.KILL_ROUTER,
        SECOND / 2 + random.nextLong(3 * SECOND / 2),
        SECOND / 10 + random.nextLong(2 * SECOND),
        0,
        0);
  }

  /** Other decode workers take the sessions over, in the middle of them. */
  private static Fault leftByItsSessions(SplittableRandom random, long arrival, int worker) {
    return new Fault(
        random.nextBoolean() ? Fault.Kind.CHANGE_ROLE : Fault.Kind.TERMINATE,
        arrival + random.nextLong(SECOND / 2),
        SECOND + random.nextLong(3 * SECOND),
        worker,
        worker);
  }

  /** Longer than peers go on trying: what gave up on it must not leave it waiting. */
  private static Fault deafToWorkers(SplittableRandom random, int workers) {
    return new Fault(
        Fault.Kind.DEAF_TO_WORKERS,
        SECOND / 2 + random.nextLong(SECOND),
        random.nextLong(30 * SECOND),
        random.nextInt(workers),
        0);
  }

  private static TransportFaults faults(SplittableRandom random) {
    return new TransportFaults(
        rarely(random, 0.01),
        rarely(random, 0.2),
        rarely(random, 0.1),
        rarely(random, 0.2),
        rarely(random, 0.05),
        rarely(random, 0.03));
  }

  private static double rarely(SplittableRandom random, double most) {
    return random.nextInt(3) == 0 ? random.nextDouble() * most : 0;
  }

  private static List<Request> requests(SplittableRandom random) {
    int[] shared = tokens(random, 160);
    List<Request> requests = new ArrayList<>();
    int count = 2 + random.nextInt(8);
    long within = random.nextInt(3) == 0 ? SECOND / 10 : SECOND;
    for (int i = 0; i < count; i++) {
      requests.add(request(random, "s" + (i + 1), shared, within));
    }
    return requests;
  }

  private static Request request(SplittableRandom random, String id, int[] shared, long within) {
    int length = 1 + random.nextInt(random.nextInt(4) == 0 ? 150 : 100);
    int[] prompt = tokens(random, length);
    if (random.nextBoolean()) {
      int common = random.nextInt(length + 1);
      System.arraycopy(shared, 0, prompt, 0, common);
    }
    int most = random.nextInt(3) == 0 ? MOST_TOKENS : 40;
    SamplingParameters.Builder sampling =
        SamplingParameters.newBuilder()
            .setMaxTokens(1 + random.nextInt(most))
            .setTemperature(random.nextBoolean() ? 0 : 0.5f + random.nextInt(3) / 2f)
            .setTopP(1)
            .setRepetitionPenalty(1)
            .setSeed(random.nextLong())
            .setIgnoreEos(random.nextInt(4) > 0);
    if (random.nextInt(8) == 0) {
      sampling.setFrequencyPenalty(0.5f);
    }
    return new Request(
        id,
        SECOND / 2 + random.nextLong(within),
        prompt,
        sampling.build(),
        random.nextInt(12) == 0 ? 50 + random.nextLong(1500) : GENEROUS_DEADLINE_MILLIS,
        random.nextInt(5) == 0 ? "salt" : "",
        random.nextInt(4) == 0 ? random.nextInt(3) : 0,
        random.nextInt(6) == 0 ? random.nextLong(SECOND / 4) : Long.MAX_VALUE,
        random.nextInt(10) == 0 ? 1 + random.nextInt(10) : 0,
        0);
  }

  private static int[] tokens(SplittableRandom random, int count) {
    int[] tokens = new int[count];
    Arrays.setAll(tokens, _ -> random.nextInt(HashModel.VOCABULARY));
    return tokens;
  }
}
