package dev.baton.cli;

import dev.baton.bench.handoff.HandoffBench;
import dev.baton.bench.handoff.HandoffPlan;
import dev.baton.kvtransfer.TransferOptions;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code baton bench handoff}: the hand-off of KV beside plain UCX messages. */
@Command(
    name = "handoff",
    mixinStandardHelpOptions = true,
    description = {
      "Hands KV of the shape of Llama 3 8B from one process to another by the production service,"
          + " in turns with plain UCX active messages of the same bytes, and prints both rates.",
      "docs/benchmarks.md tells what the columns mean."
    })
final class BenchHandoffCommand implements Callable<Integer> {

  @Option(
      names = "--tokens",
      paramLabel = "N",
      description = "Tokens of the hand-off, 128 KiB each. Default: 1024.")
  int tokens = 1024;

  @Option(
      names = "--slab",
      paramLabel = "SIZE",
      description = "Bytes of a slab and of a plain message. Default: 512K, the workers' own.")
  ByteSize slab = new ByteSize(TransferOptions.DEFAULT_SLAB_BYTES);

  @Option(names = "--repeat", paramLabel = "N", description = "Rounds. Default: 15.")
  int rounds = 15;

  @Mixin BenchOutput output = new BenchOutput();

  @Override
  public Integer call() {
    return output.print(
        progress ->
            HandoffBench.run(
                HandoffPlan.llama8b(tokens, Math.toIntExact(slab.bytes()), rounds), progress));
  }
}
