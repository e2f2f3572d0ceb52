package dev.baton.worker.fakes;

import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.LedgerSnapshot;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.proto.worker.v1.Role;
import dev.baton.worker.Worker;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.WorkerOptions;
import dev.baton.worker.wire.HostPort;
import io.grpc.BindableService;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/** A worker on parts of the test's choice, and a channel to it. */
public final class TestWorker implements AutoCloseable {

  private final Engine engine;
  private final Worker worker;
  private final ManagedChannel channel;

  @SafeVarargs
  public TestWorker(
      Role role,
      HostPort router,
      Engine engine,
      KvTransfer transfer,
      Function<WorkerContext, BindableService>... services)
      throws IOException {
    this.engine = engine;
    this.worker =
        Worker.start(
            WorkerOptions.of(role, router, EngineOptions.of(Path.of("fake"))),
            engine,
            Optional.ofNullable(transfer),
            List.of(services));
    HostPort address = HostPort.parse(worker.grpcAddress());
    this.channel =
        NettyChannelBuilder.forAddress(address.host(), address.port()).usePlaintext().build();
  }

  public Worker worker() {
    return worker;
  }

  public ManagedChannel channel() {
    return channel;
  }

  public LedgerSnapshot ledger() {
    return engine.status().ledger();
  }

  /**
   * Waits until no session is here and no block belongs to one: less long than until a lease ends,
   * of 10 s, which would free it as well.
   */
  public void awaitClosedLedger() {
    awaitClosedLedger(Duration.ofSeconds(8));
  }

  public void awaitClosedLedger(Duration most) {
    Eventually.within(
        most,
        "ledger of " + worker.id() + " closes",
        () -> worker.sessions() == 0 && ledger().closed());
  }

  @Override
  public void close() {
    channel.shutdownNow();
    worker.close();
  }
}
