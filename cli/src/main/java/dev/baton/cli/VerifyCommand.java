package dev.baton.cli;

import dev.baton.bench.quality.QualityPlan;
import dev.baton.bench.verify.Verification;
import dev.baton.bench.verify.VerifyPlan;
import dev.baton.bench.verify.VerifyReport;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Precision;
import dev.baton.engine.Quantization;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.router.text.TextModelException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code baton verify}: whether a model gives the same when its KV is handed over. */
@Command(
    name = "verify",
    mixinStandardHelpOptions = true,
    description = {
      "Computes the same prompts on one worker and split over two, with the KV handed over by UCX,"
          + " and compares token ids, log probabilities and KV bit for bit.",
      "A control run on the other worker alone shows whether a difference is the hand-off's."
          + " Exit code 0: all is equal; 1: something differs.",
      "Loads the model twice; needs the memory of both workers."
    })
final class VerifyCommand implements Callable<Integer> {

  private static final String HOST = "127.0.0.1";

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description = "A Hugging Face model directory. Default: models/stories260K.")
  @Nullable Path model;

  @Option(
      names = "--prefill-tp",
      paramLabel = "N",
      description = "Ranks of the prefill worker: 1, 2, 4 or 8. Default: 1.")
  int prefillTensorParallel = 1;

  @Option(
      names = "--decode-tp",
      paramLabel = "N",
      description = "Ranks of the decode worker: 1, 2, 4 or 8. Default: 1.")
  int decodeTensorParallel = 1;

  @Option(
      names = "--prefill-block-tokens",
      paramLabel = "N",
      description = "Token positions of its KV blocks, a multiple of 32. Default: the engine's.")
  @Nullable Integer prefillBlockTokens;

  @Option(
      names = "--decode-block-tokens",
      paramLabel = "N",
      description = "Token positions of its KV blocks, a multiple of 32. Default: the engine's.")
  @Nullable Integer decodeBlockTokens;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description = "Weights and KV: auto (as the checkpoint), float32 or bfloat16. Default: auto.")
  EngineFlags.Dtype dtype = EngineFlags.Dtype.AUTO;

  @Option(
      names = "--quantize",
      paramLabel = "BITS",
      description = "Matrices: none, int8 or int4. Default: none.")
  EngineFlags.Quantize quantize = EngineFlags.Quantize.NONE;

  @Option(
      names = "--kv-dtype",
      paramLabel = "TYPE",
      description = "KV: auto (as --dtype), float32, bfloat16 or int8. Default: auto.")
  EngineFlags.KvDtype kvDtype = EngineFlags.KvDtype.AUTO;

  @Mixin DeviceFlags device = new DeviceFlags();

  @Option(
      names = "--prompts",
      paramLabel = "FILE",
      description =
          "Texts divided by blank lines. Default: lengths around every border of blocks and chunks,"
              + " of texts that come with the program.")
  @Nullable Path prompts;

  @Option(
      names = "--tokens",
      paramLabel = "FILE",
      description = "Prompts as token ids, one a line; for models without tokenizer.json.")
  @Nullable Path tokens;

  @Option(
      names = "--longest",
      paramLabel = "N",
      description = "Tokens of a prompt at most. Default: 512, or what the context holds.")
  int longest = 512;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description = "Tokens generated per prompt, at least 2. Default: 32.")
  int maxTokens = 32;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Of the prompts' lengths and of sampling. Default: 1.")
  long seed = 1;

  @Option(names = "--print-environment", hidden = true)
  boolean printEnvironment;

  @Override
  public Integer call() {
    if (printEnvironment) {
      WorkerEnvironment.print(HOST);
      return 0;
    }
    ProgressLine.quietLog();
    Options.checkTensorParallel("--prefill-tp", prefillTensorParallel);
    Options.checkTensorParallel("--decode-tp", decodeTensorParallel);
    if (prompts != null && tokens != null) {
      throw CommandFailure.usage("--prompts and --tokens: both given (expected: one of them)");
    }
    try {
      ProgressLine progress = new ProgressLine("verify", System.err);
      VerifyReport report =
          Verification.run(
              new VerifyPlan(
                  options(prefillTensorParallel, prefillBlockTokens),
                  options(decodeTensorParallel, decodeBlockTokens),
                  source(),
                  longest,
                  maxTokens,
                  seed),
              () -> KvTransferFactory.open(TransferOptions.on(HOST)),
              progress::show);
      progress.clear();
      System.out.print(report.text());
      return report.verified() ? 0 : 1;
    } catch (IllegalArgumentException e) {
      throw CommandFailure.usage(String.valueOf(e.getMessage()));
    } catch (EngineException | TextModelException | IllegalStateException e) {
      throw CommandFailure.failed(String.valueOf(e.getMessage()));
    } catch (IOException e) {
      throw CommandFailure.failed("cannot be read: " + e.getMessage());
    }
  }

  private EngineOptions options(int tensorParallel, @Nullable Integer blockTokens) {
    EngineOptions options =
        device
            .in(EngineOptions.of(Options.modelWithConfig(model)))
            .withTensorParallel(tensorParallel)
            .withPrecision(Precision.valueOf(dtype.name()))
            .withQuantization(Quantization.valueOf(quantize.name()))
            .withKvPrecision(KvPrecision.valueOf(kvDtype.name()));
    return blockTokens == null ? options : options.withBlockTokens(blockTokens);
  }

  private QualityPlan.@Nullable Source source() {
    if (prompts != null) {
      return new QualityPlan.Source.Texts(prompts);
    }
    return tokens == null ? null : new QualityPlan.Source.Tokens(tokens);
  }
}
