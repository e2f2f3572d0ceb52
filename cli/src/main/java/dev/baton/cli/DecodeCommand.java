package dev.baton.cli;

import dev.baton.proto.worker.v1.Role;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code baton decode}: one decode worker, in the foreground. */
@Command(
    name = "decode",
    mixinStandardHelpOptions = true,
    description = "Runs a decode worker: takes KV and generates tokens.")
final class DecodeCommand implements Callable<Integer> {

  @Option(
      names = "--aggregated",
      description = "Both roles in this worker: it computes prompts itself, without a hand-off.")
  boolean aggregated;

  @Mixin WorkerFlags worker = new WorkerFlags();

  @Mixin EngineFlags engine = new EngineFlags();

  @Mixin PeerFlags peers = new PeerFlags();

  @Mixin ProcessFlags process = new ProcessFlags();

  @Override
  public Integer call() throws InterruptedException {
    worker.check();
    engine.check();
    if (worker.printEnvironment) {
      WorkerEnvironment.print(worker.host);
      return 0;
    }
    process.apply();
    return WorkerProcess.run(aggregated ? Role.BOTH : Role.DECODE, worker, engine, peers, process);
  }
}
