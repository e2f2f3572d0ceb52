package dev.baton.cli;

import dev.baton.bench.split.SplitBench;
import dev.baton.bench.split.SplitPlan;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
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

  @Mixin BenchOutput output = new BenchOutput();

  @Override
  public Integer call() {
    return output.print(
        progress -> SplitBench.run(new SplitPlan(shape, prompts, rounds), progress));
  }
}
