package dev.baton.bench;

import dev.baton.device.DType;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Precision;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.model.ModelLoader;
import dev.baton.engine.model.ModelRunner;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * {@code baton bench engine}: for every dtype and tensor-parallel degree makes a model of random
 * weights, then goes round: ceilings, every workload, the peer, and again. What is compared is thus
 * measured side by side, under the same changes of the machine.
 */
public final class EngineBench {

  private static final long SEED = 20_261_121;

  /** Read in one pass: many times the caches of a socket. */
  private static final long PROBE_BYTES = 1L << 30;

  private static final long PROBE_NANOS = 300_000_000L;
  private static final Duration PEER_LIMIT = Duration.ofMinutes(30);

  /** Steps before all measurements, for the JVM to compile what they run. */
  private static final Workload WARM_UP = new Workload.Decode(1, 0, 16);

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
    try (CeilingProbe probe =
        new CeilingProbe(Runtime.getRuntime().availableProcessors(), probeBytes, probeNanos)) {
      for (Precision precision : plan.dtypes()) {
        for (int ranks : plan.tensorParallel()) {
          configurations.add(measure(precision, ranks, probe));
        }
      }
      Machine machine = Machine.describe(probe.device(), loadBefore);
      return new BenchReport(shape.name(), machine, configurations);
    }
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

  private BenchReport.Configuration measure(Precision precision, int ranks, CeilingProbe probe) {
    EngineOptions options = options(precision, ranks);
    progress.accept("making %s, TP %d".formatted(shape.name(), ranks));
    long begun = System.nanoTime();
    try (EngineDriver driver = load(options)) {
      double loadSeconds = (System.nanoTime() - begun) / 1e9;
      return measure(driver, ranks, loadSeconds, probe);
    }
  }

  private EngineDriver load(EngineOptions options) {
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
      EngineDriver driver, int ranks, double loadSeconds, CeilingProbe probe) {
    DType dtype = driver.model().kvDtype();
    Costs costs = Costs.of(shape.config(), dtype);
    List<Workload> workloads = plan.workloads();
    Map<Workload, List<Measurement>> measured = new HashMap<>();
    Map<String, List<Double>> peer = new HashMap<>();
    Ceilings ceilings = new Ceilings(dtype, 0, 0);
    progress.accept("warming up");
    driver.run(WARM_UP);
    for (int round = 1; round <= plan.repeats(); round++) {
      progress.accept("round %d of %d: ceilings".formatted(round, plan.repeats()));
      ceilings = ceilings.best(probe.measure(dtype));
      for (Workload workload : workloads) {
        progress.accept("round %d of %d: %s".formatted(round, plan.repeats(), workload.name()));
        Measurement measurement = driver.run(workload);
        measured.computeIfAbsent(workload, key -> new ArrayList<>()).add(measurement);
      }
      runPeer(round, peer);
    }
    List<Result> results = new ArrayList<>();
    for (Workload workload : workloads) {
      List<Double> others = peer.getOrDefault(PeerOutput.key(workload), List.of());
      List<Measurement> own = measured.getOrDefault(workload, List.of());
      results.add(new Result(workload, costs, ceilings, own, others));
    }
    return new BenchReport.Configuration(
        dtype.name().toLowerCase(Locale.ROOT), ranks, loadSeconds, ceilings, results);
  }

  private void runPeer(int round, Map<String, List<Double>> rates) {
    @Nullable String command = plan.peer();
    if (command != null) {
      progress.accept("round %d of %d: peer".formatted(round, plan.repeats()));
      new PeerCommand(command, PEER_LIMIT)
          .run()
          .forEach((key, rate) -> rates.computeIfAbsent(key, k -> new ArrayList<>()).add(rate));
    }
  }

  /** Memory for the largest workload and no more. */
  private EngineOptions options(Precision precision, int ranks) {
    EngineOptions defaults = EngineOptions.of(shape.directory());
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
    return defaults
        .withServedName(shape.name())
        .withPrecision(precision)
        .withTensorParallel(ranks)
        .withMaxSessions(sessions)
        .withContextLength(context)
        .withStepTokens(Math.max(stepTokens, sessions))
        .withPrefillChunk(chunk)
        .withKvCacheBytes(blocks * blockTokens * kvBytes(precision, ranks));
  }

  /** Bytes of one position over all ranks; more ranks than KV heads hold copies. */
  private long kvBytes(Precision precision, int ranks) {
    ModelConfig config = shape.config();
    boolean half =
        switch (precision) {
          case AUTO -> config.dtype() == null || config.dtype() == DType.BFLOAT16;
          case BFLOAT16 -> true;
          case FLOAT32 -> false;
        };
    long heads = Math.max(config.kvHeads(), ranks);
    return 2L * config.layers() * heads * config.headDim() * (half ? 2 : 4);
  }
}
