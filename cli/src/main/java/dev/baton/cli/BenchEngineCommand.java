package dev.baton.cli;

import dev.baton.bench.BenchPlan;
import dev.baton.bench.EngineBench;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code baton bench engine}: the engine alone, against the limits of the machine. */
@Command(
    name = "engine",
    mixinStandardHelpOptions = true,
    description = {
      "Measures prefill and decode of the engine on random weights, and prints every figure as a"
          + " share of what the machine allows, which is measured in the same run.",
      "docs/benchmarks.md tells what the columns mean."
    })
final class BenchEngineCommand implements Callable<Integer> {

  @Option(
      names = "--shape",
      paramLabel = "SHAPE",
      description =
          "llama-1b, llama-8b, qwen3-0.6b, qwen3-moe-1b, qwen3-30b-4, mixtral-8x7b-2, stories260k,"
              + " mixture-260k, or a directory with config.json.")
  String shape = "llama-1b";

  @Mixin DeviceFlags device = new DeviceFlags();

  @Mixin BenchFormatFlags formats = new BenchFormatFlags();

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
      names = "--busy",
      paramLabel = "N",
      description =
          "Measures everything a second time beside N processes that each keep a processor busy."
              + " Default: 0.")
  int busy;

  @Option(
      names = "--peer",
      paramLabel = "COMMAND",
      description = "Another engine's bench, run after each of our rounds: llama-bench -o json.")
  @Nullable String peer;

  @Mixin BenchOutput output = new BenchOutput();

  @Override
  public Integer call() {
    return output.print(progress -> EngineBench.run(plan(), progress));
  }

  private BenchPlan plan() {
    tensorParallel.forEach(ranks -> Options.checkTensorParallel("--tp", ranks));
    prefill.forEach(tokens -> Options.checkAtLeast("--prefill", tokens, 0));
    List<Integer> prompts = prefill.stream().filter(tokens -> tokens != 0).toList();
    try {
      return new BenchPlan(
          shape,
          formats.choices(),
          tensorParallel,
          prompts,
          decode,
          depths,
          batches,
          repeats,
          stepTokens,
          prefillChunk,
          busy,
          device.options(),
          peer);
    } catch (IllegalArgumentException e) {
      throw CommandFailure.usage("--" + e.getMessage());
    }
  }
}
