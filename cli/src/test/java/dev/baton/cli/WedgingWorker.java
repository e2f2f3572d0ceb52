package dev.baton.cli;

import dev.baton.decodeservice.DecodeService;
import dev.baton.engine.Engine;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.Ticket;
import dev.baton.prefillservice.PrefillService;
import dev.baton.proto.worker.v1.Role;
import dev.baton.worker.Worker;
import dev.baton.worker.WorkerOptions;
import dev.baton.worker.wire.HostPort;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.locks.LockSupport;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * A decode worker as {@code baton decode} runs it, in a process of its own, but for two things.
 * While the one file is there its step thread does not come back from a step, as if the device did
 * not answer. While the other is there its tickets name a listener that never says a word, as if
 * its transport had gone deaf. Everything else goes on: health, statuses, calls.
 */
@Command(name = "wedging-worker")
public final class WedgingWorker implements Callable<Integer> {

  private static final long LOOK_NANOS = 2_000_000;

  @Option(names = "--wedge", required = true)
  Path wedge = Path.of("wedge");

  @Option(names = "--deaf", required = true)
  Path deaf = Path.of("deaf");

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
    try (ServerSocket silence = new ServerSocket(0, 8, InetAddress.getLoopbackAddress())) {
      int deafPort = silence.getLocalPort();
      Worker.start(
          options,
          wedging(Engine.load(options.engine(), _ -> {})),
          options.transfer().map(KvTransferFactory::open).map(real -> deafening(real, deafPort)),
          List.of(PrefillService::create, DecodeService::create));
      new CountDownLatch(1).await();
    }
    return 0;
  }

  /** The step thread itself only waits, as for a device: another thread looks for the file. */
  private Engine wedging(Engine real) {
    Semaphore steps = new Semaphore(1, true);
    Thread.ofPlatform().name("wedge").daemon().start(() -> watch(steps));
    return wrapped(
        Engine.class,
        real,
        (method, answer) -> {
          if (!method.getName().equals("step")) {
            return answer.call();
          }
          steps.acquireUninterruptibly();
          try {
            return answer.call();
          } finally {
            steps.release();
          }
        });
  }

  private void watch(Semaphore steps) {
    boolean wedged = false;
    while (true) {
      boolean there = Files.exists(wedge);
      if (there && !wedged) {
        steps.acquireUninterruptibly();
      } else if (!there && wedged) {
        steps.release();
      }
      wedged = there;
      LockSupport.parkNanos(LOOK_NANOS);
    }
  }

  private KvTransfer deafening(KvTransfer real, int deafPort) {
    return wrapped(
        KvTransfer.class,
        real,
        (_, answer) -> {
          Object told = answer.call();
          return told instanceof Ticket t && Files.exists(deaf)
              ? new Ticket(
                  t.transfer(), t.secret(), t.host(), deafPort, t.firstToken(), t.leaseMillis())
              : told;
        });
  }

  private interface Around {
    Object call(Method method, Answer answer) throws Throwable;
  }

  private interface Answer {
    Object call() throws Throwable;
  }

  private static <T> T wrapped(Class<T> type, T real, Around around) {
    return type.cast(
        Proxy.newProxyInstance(
            type.getClassLoader(),
            new Class<?>[] {type},
            (_, method, arguments) ->
                around.call(
                    method,
                    () -> {
                      try {
                        return method.invoke(real, arguments);
                      } catch (InvocationTargetException e) {
                        throw e.getCause();
                      }
                    })));
  }
}
