package dev.baton.cli;

import dev.baton.bench.FormatChoice;
import dev.baton.bench.load.LoadBench;
import dev.baton.bench.load.LoadPlan;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code baton bench load}: time and memory from a checkpoint in the page cache to ready. */
@Command(
    name = "load",
    mixinStandardHelpOptions = true,
    description = {
      "Measures how long a checkpoint takes to be ready, and the peak of memory on the way. Its"
          + " files are read once before, so that the disk does not count.",
      "docs/benchmarks.md tells what the columns mean."
    })
final class BenchLoadCommand implements Callable<Integer> {

  @Parameters(
      index = "0",
      arity = "0..1",
      paramLabel = "DIR",
      description = "A Hugging Face model directory. Default: models/stories260K.")
  @Nullable Path model;

  @Mixin BenchFormatFlags formats = new BenchFormatFlags();

  @Option(names = "--tp", paramLabel = "N", description = "Ranks: 1, 2, 4 or 8. Default: 1.")
  int tensorParallel = 1;

  @Option(
      names = "--context-length",
      paramLabel = "TOKENS",
      description = "Prompt and continuation together. Default: the model's.")
  int contextLength;

  @Option(
      names = "--kv-cache",
      paramLabel = "SIZE",
      description = "Memory for KV, such as 512M. Default: one session of full length.")
  @Nullable ByteSize kvCache;

  @Option(names = "--repeat", paramLabel = "N", description = "Loads, one by one. Default: 3.")
  int repeats = 3;

  @Mixin BenchOutput output = new BenchOutput();

  @Override
  public Integer call() {
    Options.checkTensorParallel("--tp", tensorParallel);
    List<FormatChoice> choices = formats.choices();
    if (choices.size() > 1) {
      throw CommandFailure.usage(
          "%d formats (expected: one; memory is measured best in a fresh process)"
              .formatted(choices.size()));
    }
    return output.print(
        progress ->
            LoadBench.run(
                new LoadPlan(
                    Options.modelWithConfig(model),
                    choices.getFirst(),
                    tensorParallel,
                    contextLength,
                    kvCache == null ? 0 : kvCache.bytes(),
                    repeats),
                progress));
  }
}
