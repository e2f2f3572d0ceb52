package dev.baton.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Options of the engine that every worker of a system must have alike; {@code up} hands them on.
 */
final class EngineFlags {

  /** Values of {@code --kv-dtype}. */
  enum KvDtype {
    AUTO,
    FLOAT32,
    BFLOAT16,
    INT8
  }

  /** Values of {@code --dtype}. */
  enum Dtype {
    AUTO,
    FLOAT32,
    BFLOAT16
  }

  @Option(
      names = "--served-name",
      paramLabel = "NAME",
      description = "Public name of the model. Default: the directory's.")
  @Nullable String servedName;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description = "Weights and KV: auto (as the checkpoint), float32 or bfloat16. Default: auto.")
  Dtype dtype = Dtype.AUTO;

  /** Values of {@code --quantize}. */
  enum Quantize {
    NONE,
    INT8,
    INT4
  }

  @Option(
      names = "--quantize",
      paramLabel = "BITS",
      description =
          "What becomes of matrices at load: none, int8 (half of bfloat16's memory, about twice its"
              + " speed) or int4 (a quarter, at some cost in quality). Default: none.")
  Quantize quantize = Quantize.NONE;

  @Option(
      names = "--kv-dtype",
      paramLabel = "TYPE",
      description = "KV: auto (as --dtype), float32, bfloat16 or int8. Default: auto.")
  KvDtype kvDtype = KvDtype.AUTO;

  @Option(
      names = "--block-tokens",
      paramLabel = "N",
      description = "Token positions of a KV block, a multiple of 32. Default: 32.")
  @Nullable Integer blockTokens;

  @Option(
      names = "--kv-cache",
      paramLabel = "SIZE",
      description = "Memory of a worker for KV, such as 512M or 4G. Default: from free memory.")
  @Nullable ByteSize kvCache;

  @Option(
      names = "--step-tokens",
      paramLabel = "N",
      description = "Tokens of one step at most. Default: from processors and memory.")
  @Nullable Integer stepTokens;

  @Option(
      names = "--prefill-chunk",
      paramLabel = "N",
      description =
          "Prompt tokens of one session in one step at most. Default: what the step has left.")
  @Nullable Integer prefillChunk;

  @Option(
      names = "--max-step-ms",
      paramLabel = "MS",
      description =
          "What a step should take at most while sessions decode, by which prompts are cut into"
              + " chunks; 0 = no bound. Default: 200.")
  @Nullable Integer maxStepMillis;

  @Option(
      names = "--max-sessions",
      paramLabel = "N",
      description = "Sessions of a worker that run at a time. Default: from processors and memory.")
  @Nullable Integer maxSessions;

  @Option(
      names = "--context-length",
      paramLabel = "TOKENS",
      description =
          "Prompt and continuation together. Default: the model's, or as many as fit memory.")
  @Nullable Integer contextLength;

  @Option(
      names = "--swap",
      paramLabel = "SIZE",
      description =
          "Memory of a worker for the KV of preempted sessions, such as 512M or 4G; 0 = none."
              + " Default: from free memory.")
  @Nullable ByteSize swap;

  @Option(
      names = "--check-ledger",
      description =
          "Recounts every KV block after every step and every slab whenever one comes back; a"
              + " worker whose account is wrong ends. Costs time in proportion to the KV cache.")
  boolean checkLedger;

  @Mixin DeviceFlags device = new DeviceFlags();

  /** The same options, but for the device, as a command line that parses back to them. */
  List<String> arguments() {
    List<String> arguments = new ArrayList<>();
    add(arguments, "--served-name", servedName);
    add(arguments, "--dtype", dtype.name().toLowerCase(Locale.ROOT));
    add(arguments, "--quantize", quantize.name().toLowerCase(Locale.ROOT));
    add(arguments, "--kv-dtype", kvDtype.name().toLowerCase(Locale.ROOT));
    add(arguments, "--block-tokens", blockTokens);
    add(arguments, "--kv-cache", kvCache);
    add(arguments, "--step-tokens", stepTokens);
    add(arguments, "--prefill-chunk", prefillChunk);
    add(arguments, "--max-step-ms", maxStepMillis);
    add(arguments, "--max-sessions", maxSessions);
    add(arguments, "--context-length", contextLength);
    add(arguments, "--swap", swap);
    if (checkLedger) {
      arguments.add("--check-ledger");
    }
    return arguments;
  }

  /** Refuses what no engine takes, before a process is started for it. */
  void check() {
    device.check();
    Options.checkAtLeast("--block-tokens", blockTokens, 32);
    if (blockTokens != null && blockTokens % 32 != 0) {
      throw CommandFailure.usage(
          "--block-tokens: %d (expected: a multiple of 32)".formatted(blockTokens));
    }
    Options.checkAtLeast("--step-tokens", stepTokens, 1);
    Options.checkAtLeast("--prefill-chunk", prefillChunk, 1);
    Options.checkAtLeast("--max-step-ms", maxStepMillis, 0);
    Options.checkAtLeast("--max-sessions", maxSessions, 1);
    Options.checkAtLeast("--context-length", contextLength, 2);
  }

  private static void add(List<String> arguments, String name, @Nullable Object value) {
    if (value != null) {
      arguments.add(name);
      arguments.add(value.toString());
    }
  }
}
