package dev.baton.cli;

import dev.baton.decodeservice.DecodeService;
import dev.baton.engine.Engine;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.prefillservice.PrefillService;
import dev.baton.proto.worker.v1.Role;
import dev.baton.worker.Worker;
import dev.baton.worker.WorkerOptions;
import dev.baton.worker.wire.HostPort;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.LockSupport;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * A decode worker as {@code baton decode} runs it, in a process of its own, but for one thing:
 * while a file is there its step thread does not come back from a step, as if the device did not
 * answer. Everything else goes on: health, statuses, calls.
 */
@Command(name = "wedging-worker")
public final class WedgingWorker implements Callable<Integer> {

  private static final long LOOK_NANOS = 2_000_000;

  @Option(names = "--wedge", required = true)
  Path wedge = Path.of("wedge");

  @Mixin WorkerFlags worker = new WorkerFlags();

  @Mixin EngineFlags engine = new EngineFlags();

  @Mixin PeerFlags peers = new PeerFlags();

  /** Runs until it is killed. */
  public static void main(String[] arguments) {
    System.exit(
        new CommandLine(new WedgingWorker())
            .registerConverter(HostPort.class, HostPort::parse)
            .registerConverter(ByteSize.class, ByteSize::parse)
            .execute(arguments));
  }

  @Override
  public Integer call() throws Exception {
    WorkerOptions options =
        WorkerProcess.options(Role.DECODE, worker, engine).withClusterSecret(peers.secret());
    Worker.start(
        options,
        wedging(Engine.load(options.engine(), _ -> {})),
        options.transfer().map(KvTransferFactory::open),
        List.of(PrefillService::create, DecodeService::create));
    new CountDownLatch(1).await();
    return 0;
  }

  private Engine wedging(Engine real) {
    return (Engine)
        Proxy.newProxyInstance(
            Engine.class.getClassLoader(),
            new Class<?>[] {Engine.class},
            (_, method, arguments) -> {
              while (method.getName().equals("step") && Files.exists(wedge)) {
                LockSupport.parkNanos(LOOK_NANOS);
              }
              try {
                return method.invoke(real, arguments);
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }
}
