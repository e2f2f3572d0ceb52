package dev.baton.cli;

import dev.baton.bench.quality.QualityBench;
import dev.baton.bench.quality.QualityPlan;
import dev.baton.bench.quality.QualityReport;
import dev.baton.engine.EngineException;
import dev.baton.router.text.TextModelException;
import java.io.IOException;
import java.nio.file.Files;
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

  @Option(names = "--json", paramLabel = "FILE", description = "Writes all figures there too.")
  @Nullable Path json;

  @Override
  public Integer call() {
    ProgressLine.quietLog();
    Options.checkTensorParallel("--tp", tensorParallel);
    if (prompts != null && tokens != null) {
      throw CommandFailure.usage("--prompts and --tokens: both given (expected: one of them)");
    }
    try {
      QualityPlan plan =
          new QualityPlan(
              Options.modelWithConfig(model), formats.choices(), source(), tensorParallel, longest);
      ProgressLine progress = new ProgressLine("bench", System.err);
      QualityReport report = QualityBench.run(plan, progress::show);
      progress.clear();
      System.out.print(report.text());
      if (json != null) {
        Files.writeString(json, report.json() + "\n");
      }
      return 0;
    } catch (IllegalArgumentException e) {
      throw CommandFailure.usage(String.valueOf(e.getMessage()));
    } catch (EngineException | TextModelException | IllegalStateException e) {
      throw CommandFailure.failed(String.valueOf(e.getMessage()));
    } catch (IOException e) {
      throw CommandFailure.failed("cannot be read or written: " + e.getMessage());
    }
  }

  private QualityPlan.Source source() {
    return tokens == null
        ? new QualityPlan.Source.Texts(prompts)
        : new QualityPlan.Source.Tokens(tokens);
  }
}
