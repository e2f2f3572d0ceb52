package dev.baton.cli;

import dev.baton.bench.BenchPlan;
import dev.baton.bench.BenchReport;
import dev.baton.bench.EngineBench;
import dev.baton.engine.EngineException;
import dev.baton.engine.Precision;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code baton bench}: measurements; each is a subcommand. */
@Command(
    name = "bench",
    mixinStandardHelpOptions = true,
    synopsisSubcommandLabel = "COMMAND",
    description = "Measures.",
    subcommands = {BenchCommand.EngineCommand.class})
final class BenchCommand implements Runnable {

  @Spec CommandSpec spec = CommandSpec.create();

  @Override
  public void run() {
    spec.commandLine().usage(System.out);
  }

  /** {@code baton bench engine}: the engine alone, against the limits of the machine. */
  @Command(
      name = "engine",
      mixinStandardHelpOptions = true,
      description = {
        "Measures prefill and decode of the engine on random weights, and prints every figure as a"
            + " share of what the machine allows, which is measured in the same run.",
        "docs/benchmarks.md tells what the columns mean."
      })
  static final class EngineCommand implements Callable<Integer> {

    @Option(
        names = "--shape",
        paramLabel = "SHAPE",
        description =
            "llama-1b, llama-8b, qwen3-0.6b, stories260k, or a directory with config.json.")
    String shape = "llama-1b";

    @Option(
        names = "--dtype",
        paramLabel = "TYPE",
        split = ",",
        description = "Weights and KV: auto (as the shape says), float32, bfloat16. Default: auto.")
    List<Precision> dtypes = List.of(Precision.AUTO);

    @Option(
        names = "--tp",
        paramLabel = "N",
        split = ",",
        description = "Ranks: 1, 2, 4 or 8. Default: 1.")
    List<Integer> tensorParallel = List.of(1);

    @Option(
        names = "--prefill",
        paramLabel = "TOKENS",
        split = ",",
        description = "Prompt lengths; 0 = none. Default: 512.")
    List<Integer> prefill = List.of(512);

    @Option(
        names = "--decode",
        paramLabel = "STEPS",
        description = "Steps that are timed; 0 = none. Default: 64.")
    int decode = 64;

    @Option(
        names = "--depth",
        paramLabel = "TOKENS",
        split = ",",
        description = "Context of each session when decoding begins. Default: 0.")
    List<Integer> depths = List.of(0);

    @Option(
        names = "--batch",
        paramLabel = "N",
        split = ",",
        description = "Sessions that decode together. Default: 1.")
    List<Integer> batches = List.of(1);

    @Option(
        names = "--repeat",
        paramLabel = "N",
        description = "Rounds; the median counts. Default: 5.")
    int repeats = 5;

    @Option(
        names = "--step-tokens",
        paramLabel = "N",
        description = "Tokens of one step at most. Default: the engine's.")
    int stepTokens;

    @Option(
        names = "--prefill-chunk",
        paramLabel = "N",
        description = "Prompt tokens in one step at most. Default: the engine's.")
    int prefillChunk;

    @Option(
        names = "--peer",
        paramLabel = "COMMAND",
        description = "Another engine's bench, run after each of our rounds: llama-bench -o json.")
    @Nullable String peer;

    @Option(names = "--json", paramLabel = "FILE", description = "Writes all figures there too.")
    @Nullable Path json;

    @Override
    public Integer call() {
      quietLog();
      BenchPlan plan = plan();
      try {
        Progress progress = new Progress(System.err);
        BenchReport report = EngineBench.run(plan, progress::show);
        progress.clear();
        System.out.print(report.text());
        if (json != null) {
          Files.writeString(json, report.json() + "\n");
        }
        return 0;
      } catch (IllegalArgumentException e) {
        throw CommandFailure.usage(String.valueOf(e.getMessage()));
      } catch (EngineException | IllegalStateException | IOException e) {
        throw CommandFailure.failed(String.valueOf(e.getMessage()));
      }
    }

    private BenchPlan plan() {
      tensorParallel.forEach(ranks -> Options.checkTensorParallel("--tp", ranks));
      List<Integer> prompts = prefill.stream().filter(tokens -> tokens != 0).toList();
      try {
        return new BenchPlan(
            shape,
            dtypes,
            tensorParallel,
            prompts,
            decode,
            depths,
            batches,
            repeats,
            stepTokens,
            prefillChunk,
            peer);
      } catch (IllegalArgumentException e) {
        throw CommandFailure.usage("--" + e.getMessage());
      }
    }

    /** The table is the output; the log's first lines would stand in it. */
    private static void quietLog() {
      if (System.getProperty("baton.log.level") == null) {
        System.setProperty("baton.log.level", "warn");
      }
    }
  }

  /** On a terminal one line that is written over; elsewhere one line each. */
  private static final class Progress {
    private final PrintStream out;
    private final boolean terminal = System.console() != null && System.console().isTerminal();

    Progress(PrintStream out) {
      this.out = out;
    }

    void clear() {
      if (terminal) {
        out.print("\r\033[K");
        out.flush();
      }
    }

    void show(String line) {
      if (terminal) {
        out.print("\r\033[K" + line);
        out.flush();
      } else {
        out.println("bench: " + line);
      }
    }
  }
}
