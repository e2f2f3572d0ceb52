package dev.baton.cli;

import dev.baton.simulation.Campaign;
import dev.baton.simulation.Fault;
import dev.baton.simulation.Scenario;
import dev.baton.simulation.Simulation;
import dev.baton.simulation.Trace;
import dev.baton.simulation.Verdict;
import dev.baton.simulation.cluster.Seams;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code baton simulate}: one seed of the simulation, or many. */
@Command(
    name = "simulate",
    mixinStandardHelpOptions = true,
    description = {
      "Runs router, workers and hand-offs on a virtual clock and a simulated network, with faults,"
          + " from a seed. The same seed is the same run, to the nanosecond.",
      "Exit code 1 when a promise was broken."
    })
final class SimulateCommand implements Callable<Integer> {

  private static final Pattern RANGE = Pattern.compile("(-?\\d{1,18})\\.\\.(-?\\d{1,18})");
  private static final long PROGRESS_NANOS = 1_000_000_000L;

  /** One seed or many. */
  static final class What {
    @Option(names = "--seed", paramLabel = "S", required = true, description = "Runs one seed.")
    @Nullable Long seed;

    @Option(
        names = "--seeds",
        paramLabel = "FROM..TO",
        required = true,
        description = "Runs many, and names those that fail.")
    @Nullable String seeds;
  }

  @ArgGroup(multiplicity = "1")
  What what = new What();

  @Option(names = "--trace", description = "With --seed: prints every event.")
  boolean trace;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "With --seeds. Default: the processors of this machine.")
  int threads = Runtime.getRuntime().availableProcessors();

  @Option(
      names = "--most-failures",
      paramLabel = "N",
      description = "With --seeds: stops after so many failing seeds. Default: 20.")
  int mostFailures = 20;

  @Override
  public Integer call() throws InterruptedException {
    if (System.getProperty("baton.log.level") == null) {
      // Production code logs the faults that are simulated, by the thousand.
      System.setProperty("baton.log.level", "off");
    }
    return what.seed != null ? one(what.seed) : many(String.valueOf(what.seeds));
  }

  private int one(long seed) {
    Scenario scenario = Simulation.scenario(seed);
    System.out.printf(
        "seed %d: %d workers, %d requests, hand-off messages with %s%n",
        seed,
        scenario.cluster().workers().size(),
        scenario.requests().size(),
        scenario.cluster().faults());
    for (Fault fault : scenario.faults()) {
      System.out.printf(
          Locale.ROOT,
          "  %.3f s to %.3f s: %s of worker %d%n",
          fault.from() / 1e9,
          fault.to() / 1e9,
          fault.kind(),
          fault.worker());
    }
    Verdict verdict = Simulation.run(seed, Seams.PLAIN, trace ? new Printed() : Trace.OFF);
    System.out.printf(
        Locale.ROOT,
        "seed %d: %d events in %.3f virtual seconds: %s%n",
        seed,
        verdict.events(),
        verdict.nanos() / 1e9,
        verdict.violation().orElse("all promises hold"));
    return verdict.holds() ? 0 : 1;
  }

  private int many(String seeds) throws InterruptedException {
    Matcher range = RANGE.matcher(seeds);
    if (!range.matches()) {
      throw CommandFailure.usage(
          "--seeds: %s (expected: FROM..TO, such as 1..10000)".formatted(seeds));
    }
    if (threads < 1 || mostFailures < 1) {
      throw CommandFailure.usage(
          "--threads %d, --most-failures %d (expected: >= 1)".formatted(threads, mostFailures));
    }
    ProgressLine progress = new ProgressLine("simulate", System.err);
    long begun = System.nanoTime();
    long[] shown = {begun};
    Campaign.Progress end =
        Campaign.run(
            Long.parseLong(range.group(1)),
            Long.parseLong(range.group(2)),
            threads,
            mostFailures,
            () -> Seams.PLAIN,
            verdict -> {
              progress.clear();
              System.out.printf(
                  "seed %d: %s%n  ./baton simulate --seed %d --trace%n",
                  verdict.seed(), verdict.violation().orElse(""), verdict.seed());
            },
            now -> {
              if (System.nanoTime() - shown[0] > PROGRESS_NANOS) {
                shown[0] = System.nanoTime();
                progress.show("%d seeds, %d failed".formatted(now.done(), now.failed()));
              }
            });
    progress.clear();
    double seconds = (System.nanoTime() - begun) / 1e9;
    System.out.printf(
        Locale.ROOT,
        "%d seeds, %d failed, %d events in %.1f s: %.0f seeds a second%nreached: %s%n",
        end.done(),
        end.failed(),
        end.events(),
        seconds,
        end.done() / seconds,
        end.reached());
    return end.failed() == 0 ? 0 : 1;
  }

  /** Prints each event on a line: seconds, node, what. */
  private static final class Printed implements Trace {
    @Override
    public boolean on() {
      return true;
    }

    @Override
    public void event(long nanos, String node, String what) {
      System.out.printf(Locale.ROOT, "%12.6f  %-7s %s%n", nanos / 1e9, node, what);
    }
  }
}
