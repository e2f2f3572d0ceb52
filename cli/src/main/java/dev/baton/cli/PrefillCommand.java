package dev.baton.cli;

import dev.baton.proto.worker.v1.Role;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** {@code baton prefill}: one prefill worker, in the foreground. */
@Command(
    name = "prefill",
    mixinStandardHelpOptions = true,
    description = "Runs a prefill worker: computes prompts and hands their KV on.")
final class PrefillCommand implements Callable<Integer> {

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
    return WorkerProcess.run(Role.PREFILL, worker, engine, peers, process);
  }
}
