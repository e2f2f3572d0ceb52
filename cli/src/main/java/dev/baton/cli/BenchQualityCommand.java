package dev.baton.cli;

import dev.baton.bench.quality.QualityBench;
import dev.baton.bench.quality.QualityPlan;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code baton bench quality}: what fewer bits cost a model. */
@Command(
    name = "quality",
    mixinStandardHelpOptions = true,
    description = {
      "Compares a model in each format with itself in float32 over a set of prompts: divergence of"
          + " the predicted distributions, agreement on the likeliest token, perplexity.",
      "docs/benchmarks.md tells what the columns mean."
    })
final class BenchQualityCommand implements Callable<Integer> {

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
      names = "--prompts",
      paramLabel = "FILE",
      description = "Texts divided by blank lines. Default: twelve that come with the program.")
  @Nullable Path prompts;

  @Option(
      names = "--tokens",
      paramLabel = "FILE",
      description = "Prompts as token ids, one a line; for models without tokenizer.json.")
  @Nullable Path tokens;

  @Option(
      names = "--longest",
      paramLabel = "N",
      description = "Tokens of each prompt that are used at most. Default: the model's context.")
  int longest;

  @Mixin BenchOutput output = new BenchOutput();

  @Override
  public Integer call() {
    Options.checkTensorParallel("--tp", tensorParallel);
    if (prompts != null && tokens != null) {
      throw CommandFailure.usage("--prompts and --tokens: both given (expected: one of them)");
    }
    return output.print(
        progress ->
            QualityBench.run(
                new QualityPlan(
                    Options.modelWithConfig(model),
                    formats.choices(),
                    source(),
                    tensorParallel,
                    longest),
                progress));
  }

  private QualityPlan.Source source() {
    return tokens == null
        ? new QualityPlan.Source.Texts(prompts)
        : new QualityPlan.Source.Tokens(tokens);
  }
}
