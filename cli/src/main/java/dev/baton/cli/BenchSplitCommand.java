package dev.baton.cli;

import dev.baton.bench.split.SplitBench;
import dev.baton.bench.split.SplitPlan;
import dev.baton.bench.split.SplitReport;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code baton bench split}: a session split over two workers beside the same on one. */
@Command(
    name = "split",
    mixinStandardHelpOptions = true,
    description = {
      "Starts two workers with random weights and runs sessions on one of them and split over both,"
          + " in turns: time to the first token, and from it to the second.",
      "docs/benchmarks.md tells what the columns mean."
    })
final class BenchSplitCommand implements Callable<Integer> {

  @Parameters(
      arity = "0..1",
      paramLabel = "SHAPE",
      description = "A named shape or a directory with config.json. Default: llama-1b.")
  String shape = "llama-1b";

  @Option(
      names = "--prompt",
      split = ",",
      paramLabel = "N",
      description = "Lengths of prompts in tokens. Default: 512,1024,2048,4096.")
  List<Integer> prompts = List.of(512, 1024, 2048, 4096);

  @Option(names = "--repeat", paramLabel = "N", description = "Rounds of each. Default: 5.")
  int rounds = 5;

  @Option(names = "--json", paramLabel = "FILE", description = "Writes all figures there too.")
  @Nullable Path json;

  @Override
  public Integer call() {
    ProgressLine.quietLog();
    try {
      ProgressLine progress = new ProgressLine("bench", System.err);
      SplitReport report = SplitBench.run(new SplitPlan(shape, prompts, rounds), progress::show);
      progress.clear();
      System.out.print(report.text());
      if (json != null) {
        Files.writeString(json, report.json() + "\n");
      }
      return 0;
    } catch (IllegalArgumentException e) {
      throw CommandFailure.usage(String.valueOf(e.getMessage()));
    } catch (IOException e) {
      throw CommandFailure.failed(String.valueOf(e.getMessage()));
    }
  }
}
