package dev.baton.bench;

import dev.baton.device.DType;
import dev.baton.engine.DeviceOptions;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Formats;
import dev.baton.engine.model.ModelLoader;
import dev.baton.engine.model.ModelRunner;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * {@code baton bench engine}: for every format and tensor-parallel degree makes a model of random
 * weights, then goes round: ceilings, every workload, the peer, all that once more beside busy
 * processes when asked for, and again. What is compared is thus measured side by side, under the
 * same changes of the machine.
 */
public final class EngineBench {

  private static final long SEED = 20_261_121;

  /** Read in one pass: many times the caches of a socket. */
  private static final long PROBE_BYTES = 1L << 30;

  private static final long PROBE_NANOS = 300_000_000L;
  private static final Duration PEER_LIMIT = Duration.ofMinutes(30);

  /** Steps before all measurements, for the memory of a model to be touched. */
  private static final Workload WARM_UP = new Workload.Decode(1, 0, 16);

  /** A model on which the JVM finds out what a step runs, and compiles it, within a second. */
  private static final String SMALL = "stories260k";

  private static final String SMALL_MIXTURE = "mixture-260k";

  private static final List<Workload> SMALL_WORKLOADS =
      List.of(new Workload.Decode(1, 0, 200), new Workload.Decode(8, 0, 100));
  private static final int SMALL_ROUNDS = 15;
  private static final int SMALL_MOST_RANKS = 4;

  private final BenchPlan plan;
  private final Shape shape;
  private final Consumer<String> progress;
  private final long probeBytes;
  private final long probeNanos;

  private EngineBench(
      BenchPlan plan, Shape shape, Consumer<String> progress, long probeBytes, long probeNanos) {
    this.plan = plan;
    this.shape = shape;
    this.progress = progress;
    this.probeBytes = probeBytes;
    this.probeNanos = probeNanos;
  }

  /**
   * Runs a plan; the calling thread is the step thread. Throws IllegalArgumentException for a plan
   * that does not suit the shape, EngineException when the model cannot be made or a step fails,
   * IllegalStateException when the peer fails.
   *
   * @param progress hears what is being done; called on the calling thread
   */
  public static BenchReport run(BenchPlan plan, Consumer<String> progress) {
    return run(plan, progress, PROBE_BYTES, PROBE_NANOS);
  }

  static BenchReport run(
      BenchPlan plan, Consumer<String> progress, long probeBytes, long probeNanos) {
    double load = Machine.load();
    try (Shape shape = Shape.open(plan.shape())) {
      return new EngineBench(plan, shape, progress, probeBytes, probeNanos).run(load);
    }
  }

  private BenchReport run(double loadBefore) {
    checkContext();
    List<BenchReport.Configuration> configurations = new ArrayList<>();
    progress.accept("measuring the machine");
    try (Probe probe = probe()) {
      for (FormatChoice choice : plan.formats()) {
        for (int ranks : plan.tensorParallel()) {
          configurations.add(measure(choice, ranks, probe));
        }
      }
      Machine machine = Machine.describe(probe.description(), loadBefore);
      return new BenchReport(shape.name(), machine, plan.busy(), configurations);
    }
  }

  private Probe probe() {
    return plan.device().kind() == DeviceOptions.Kind.CPU
        ? new CeilingProbe(Runtime.getRuntime().availableProcessors(), probeBytes, probeNanos)
        : new GpuProbe(plan.device());
  }

  private void checkContext() {
    for (Workload each : plan.workloads()) {
      if (each.contextTokens() > shape.config().contextLength()) {
        throw new IllegalArgumentException(
            "%s: %d positions (expected: <= %d, max_position_embeddings of %s)"
                .formatted(
                    each.name(),
                    each.contextTokens(),
                    shape.config().contextLength(),
                    shape.name()));
      }
    }
  }

  private BenchReport.Configuration measure(FormatChoice choice, int ranks, Probe probe) {
    EngineOptions options = options(choice, ranks);
    Formats formats = Formats.choose(options, stored());
    warmUp(choice, Math.min(ranks, SMALL_MOST_RANKS));
    progress.accept("making %s, TP %d".formatted(shape.name(), ranks));
    long begun = System.nanoTime();
    try (EngineDriver driver = load(options, progress)) {
      double loadSeconds = (System.nanoTime() - begun) / 1e9;
      return measure(driver, formats, ranks, loadSeconds, probe);
    }
  }

  /**
   * A large model takes minutes for as many steps as the JVM needs to compile all of one; a worker
   * has them behind it soon. Steps of an emulated GPU tell no speed, and are slow.
   */
  private void warmUp(FormatChoice choice, int ranks) {
    if (plan.device().kind() == DeviceOptions.Kind.EMULATED_CUDA) {
      return;
    }
    boolean mixture = shape.config().mixture() != null;
    try (Shape small = Shape.open(mixture ? SMALL_MIXTURE : SMALL)) {
      int context = 1;
      int sessions = 1;
      for (Workload each : SMALL_WORKLOADS) {
        context = Math.max(context, each.contextTokens() + 1);
        sessions = Math.max(sessions, each.sessions());
      }
      EngineOptions options =
          plan.in(choice, small.directory())
              .withServedName(small.name())
              .withTensorParallel(ranks)
              .withMaxSessions(sessions)
              .withContextLength(context);
      try (EngineDriver driver = load(options, message -> {})) {
        for (int round = 0; round < SMALL_ROUNDS; round++) {
          SMALL_WORKLOADS.forEach(driver::run);
        }
      }
    }
  }

  /** Dtype of the weights that are made. */
  private DType stored() {
    @Nullable DType declared = shape.config().dtype();
    return declared == null ? DType.BFLOAT16 : declared;
  }

  private static EngineDriver load(EngineOptions options, Consumer<String> progress) {
    ModelRunner runner = ModelLoader.random(options, SEED, progress);
    try {
      TimedRunner timed = new TimedRunner(runner);
      return new EngineDriver(Engine.on(timed, options), timed, SEED);
    } catch (RuntimeException | Error e) {
      runner.close();
      throw e;
    }
  }

  private BenchReport.Configuration measure(
      EngineDriver driver, Formats formats, int ranks, double loadSeconds, Probe probe) {
    Costs costs = Costs.of(shape.config(), formats);
    Set<Arithmetic> needed = EnumSet.of(costs.linear(), costs.attention());
    Rounds quiet = new Rounds();
    Rounds disturbed = new Rounds();
    Ceilings ceilings = Ceilings.NONE;
    progress.accept("warming up");
    driver.fillKv();
    driver.run(WARM_UP);
    for (int round = 1; round <= plan.repeats(); round++) {
      String prefix = "round %d of %d: ".formatted(round, plan.repeats());
      progress.accept(prefix + "ceilings");
      ceilings = ceilings.best(probe.measure(needed));
      runAll(driver, prefix, quiet);
      if (plan.busy() > 0) {
        try (BusyProcesses busy = BusyProcesses.start(plan.busy())) {
          runAll(driver, prefix + "beside %d busy: ".formatted(busy.alive()), disturbed);
        }
      }
    }
    List<Result> results = new ArrayList<>();
    for (Workload workload : plan.workloads()) {
      results.add(
          new Result(
              workload,
              costs,
              ceilings,
              quiet.own(workload),
              disturbed.own(workload),
              quiet.peer(workload),
              disturbed.peer(workload)));
    }
    return new BenchReport.Configuration(formats, ranks, loadSeconds, ceilings, results);
  }

  /** Every workload once, and the peer. */
  private void runAll(EngineDriver driver, String prefix, Rounds rounds) {
    for (Workload workload : plan.workloads()) {
      progress.accept(prefix + workload.name());
      rounds.add(workload, driver.run(workload));
    }
    @Nullable String command = plan.peer();
    if (command != null) {
      progress.accept(prefix + "peer");
      Map<String, Double> rates = new PeerCommand(command, PEER_LIMIT).run();
      requireComparable(rates.keySet());
      rounds.addPeer(rates);
    }
  }

  /** A peer whose tests are all others than ours would leave empty columns behind. */
  private void requireComparable(Set<String> measured) {
    List<String> wanted = plan.workloads().stream().map(PeerOutput::key).toList();
    if (Collections.disjoint(wanted, measured)) {
      throw new IllegalStateException(
          "peer: %s: it measured %s (expected: some of %s, with the same prompts, depths and batch sizes)"
              .formatted(plan.peer(), new TreeSet<>(measured), wanted));
    }
  }

  /** Memory for the largest workload and no more. */
  private EngineOptions options(FormatChoice choice, int ranks) {
    EngineOptions defaults = plan.in(choice, shape.directory());
    int sessions = 1;
    int context = WARM_UP.contextTokens();
    long blocks = 0;
    int blockTokens = defaults.blockTokens();
    for (Workload each : plan.workloads()) {
      sessions = Math.max(sessions, each.sessions());
      context = Math.max(context, each.contextTokens());
      // One block more for each: a session may ask for the next one before its last step.
      long perSession = Math.ceilDiv(each.contextTokens(), blockTokens) + 1L;
      blocks = Math.max(blocks, each.sessions() * perSession);
    }
    context = Math.min(context + 1, shape.config().contextLength());
    blocks = Math.max(blocks, Math.ceilDiv(context, blockTokens) + 1L);
    int stepTokens = plan.stepTokens() == 0 ? defaults.stepTokens() : plan.stepTokens();
    int chunk = plan.prefillChunk() == 0 ? defaults.prefillChunk() : plan.prefillChunk();
    EngineOptions options =
        defaults
            .withServedName(shape.name())
            .withTensorParallel(ranks)
            .withMaxSessions(sessions)
            .withContextLength(context)
            .withStepTokens(Math.max(stepTokens, sessions))
            .withPrefillChunk(chunk);
    return options.withKvCacheBytes(ModelMemory.kvBytes(shape.config(), stored(), options, blocks));
  }

  /** What was measured of each workload, round by round. */
  private static final class Rounds {
    private final Map<Workload, List<Measurement>> own = new HashMap<>();
    private final Map<String, List<Double>> peer = new HashMap<>();

    void add(Workload workload, Measurement measurement) {
      own.computeIfAbsent(workload, key -> new ArrayList<>()).add(measurement);
    }

    void addPeer(Map<String, Double> rates) {
      rates.forEach((key, rate) -> peer.computeIfAbsent(key, k -> new ArrayList<>()).add(rate));
    }

    List<Measurement> own(Workload workload) {
      return own.getOrDefault(workload, List.of());
    }

    List<Double> peer(Workload workload) {
      return peer.getOrDefault(PeerOutput.key(workload), List.of());
    }
  }
}
