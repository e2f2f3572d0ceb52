package dev.baton.simulation.cluster;

import dev.baton.decodeservice.DecodeService;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.handoff.HandoffService;
import dev.baton.prefillservice.PrefillService;
import dev.baton.prefillservice.PrefixService;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SetRoleRequest;
import dev.baton.proto.worker.v1.WorkerControlGrpc;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.simulation.clock.LaneAlarms;
import dev.baton.simulation.clock.LaneTimer;
import dev.baton.simulation.clock.Process;
import dev.baton.simulation.clock.StepTurns;
import dev.baton.simulation.model.HashModel;
import dev.baton.simulation.network.GrpcChannel;
import dev.baton.simulation.network.GrpcServer;
import dev.baton.simulation.network.SlabTransport;
import dev.baton.worker.WorkerCore;
import dev.baton.worker.WorkerOptions;
import dev.baton.worker.registry.RegistryLink;
import dev.baton.worker.step.Outbox;
import dev.baton.worker.wire.HostPort;
import io.grpc.ManagedChannel;
import io.grpc.ServerInterceptor;
import io.grpc.stub.StreamObserver;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.concurrent.ScheduledExecutorService;
import java.util.function.Consumer;

/** One process of a worker: the production parts, on this simulation's clock, network and model. */
public final class WorkerLife {

  private static final long SECOND = 1_000_000_000L;
  private static final long TOKEN_NANOS = 30_000;

  private final Process process;
  private final Engine engine;
  private final KvTransfer transfer;
  private final SlabTransport wires;
  private final StepTurns turns;
  private final WorkerCore core;
  private final ServedSessions served;
  private final Cluster cluster;
  private final String address;
  private final Failures fatal = new Failures();
  private double slowness = 1;

  /** Where the core's last word goes; the host is told once it listens. */
  private static final class Failures {
    private Consumer<String> listener = _ -> {};

    void hear(Failure failure) {
      listener.accept(failure.getMessage());
    }
  }

  WorkerLife(
      Cluster cluster,
      Process process,
      WorkerShape shape,
      int port,
      int life,
      SplittableRandom random) {
    this.cluster = cluster;
    this.process = process;
    this.served = new ServedSessions(what -> cluster.faulted(process.name() + ": " + what));
    Seams seams = cluster.seams();
    EngineOptions engineOptions =
        EngineOptions.of(Path.of("/hash"))
            .withBlockTokens(shape.blockTokens())
            .withStepTokens(64)
            .withPrefillChunk(shape.chunk())
            .withMaxSessions(shape.maxSessions())
            .withSwapBytes(shape.swapBytes())
            .withCheckLedger(true);
    HashModel model =
        new HashModel(
            shape.blocks(),
            engineOptions,
            cluster.window(),
            tokens ->
                process.spend((long) ((shape.stepNanos() + tokens * TOKEN_NANOS) * slowness)));
    this.engine =
        seams.engine(
            process, Engine.on(seams.model(process, model), engineOptions, process::nanoTime));
    TransferOptions transferOptions =
        new TransferOptions(
            process.name(),
            6000 + life,
            TransferOptions.LEAST_SLAB_BYTES,
            shape.slabs(),
            shape.slabs(),
            Duration.ofSeconds(2),
            Duration.ofSeconds(5),
            3);
    this.wires = new SlabTransport(cluster.network(), process, 6000 + life, cluster.faults());
    this.transfer =
        seams.transfer(
            process,
            new HandoffService(
                transferOptions,
                seams.transport(process, wires),
                wires,
                seams.transferClock(process, process::nanoTime),
                new Random(random.nextLong())));
    this.turns = new StepTurns(process);
    WorkerOptions options =
        WorkerOptions.of(shape.role(), new HostPort(Cluster.ROUTER, 1), engineOptions)
            .withTransfer(transferOptions);
    this.address = process.name() + ":" + port;
    this.core =
        new WorkerCore(
            options,
            engine,
            Optional.of(transfer),
            new WorkerCore.Surroundings(
                new LaneAlarms(process),
                new Outbox(new LaneTimer(process)),
                turns::wake,
                process::nanoTime,
                Optional.of(turns::computing),
                new ToRouter(cluster, process),
                new Random(random.nextLong()),
                () -> address,
                fatal::hear));
    new GrpcServer(
        cluster.network(),
        process,
        address,
        10 * SECOND,
        core.services(
            List.of(PrefillService::create, DecodeService::create, PrefixService::create)),
        interceptors(seams.workerCalls(process)));
  }

  private List<ServerInterceptor> interceptors(List<ServerInterceptor> wrapped) {
    List<ServerInterceptor> all = new ArrayList<>(wrapped);
    all.add(served);
    return all;
  }

  /** A call of the session is open here, as the worker sees it. */
  public boolean serves(String session) {
    return served.has(session);
  }

  /** The worker's way to the router. */
  private record ToRouter(Cluster cluster, Process process, LaneTimer timer)
      implements RegistryLink.Network {

    ToRouter(Cluster cluster, Process process) {
      this(cluster, process, new LaneTimer(process));
    }

    @Override
    public ScheduledExecutorService thread() {
      return timer;
    }

    @Override
    public ManagedChannel connect(HostPort router) {
      return new GrpcChannel(
          cluster.network(), process, router.toString(), 15 * SECOND, timer, List.of());
    }
  }

  /**
   * @param onFatal hears why this worker can never serve again
   */
  void start(Consumer<String> onFatal) {
    fatal.listener = onFatal;
    turns.start(core.loop());
    core.start();
  }

  public Process process() {
    return process;
  }

  public Engine engine() {
    return engine;
  }

  public KvTransfer transfer() {
    return transfer;
  }

  public StepTurns turns() {
    return turns;
  }

  public WorkerCore core() {
    return core;
  }

  /** Over the control service; whether it is heard of depends on the network. */
  void changeRole(Role role) {
    GrpcChannel control =
        new GrpcChannel(
            cluster.network(),
            cluster.router().process(),
            address,
            15 * SECOND,
            Runnable::run,
            List.of());
    WorkerControlGrpc.newStub(control)
        .setRole(
            SetRoleRequest.newBuilder().setRole(role).build(),
            new StreamObserver<>() {
              @Override
              public void onNext(WorkerStatus status) {
                // The router hears of it by the worker's own report.
              }

              @Override
              public void onError(Throwable cause) {
                // A worker that is not reached keeps its role.
              }

              @Override
              public void onCompleted() {
                // Nothing follows.
              }
            });
  }

  /** Steps take so many times as long from now on. */
  public void slow(double factor) {
    slowness = factor;
  }

  /** Why this worker holds something although nobody should; empty when it holds nothing. */
  public Optional<String> open() {
    var ledger = engine.status().ledger();
    var totals = transfer.totals();
    if (core.sessions().count() > 0) {
      return Optional.of(core.sessions().count() + " sessions");
    }
    if (!ledger.closed()) {
      return Optional.of(ledger.toString());
    }
    if (totals.openExports() + totals.openImports() > 0) {
      return Optional.of(totals.openExports() + totals.openImports() + " hand-offs");
    }
    return totals.slabBytesInUse() > 0
        ? Optional.of(totals.slabBytesInUse() + " bytes of slabs")
        : Optional.empty();
  }

  /** What is held for a session here, or its call; empty when nothing is. */
  public Optional<String> heldFor(String session) {
    return served.has(session)
        ? Optional.of("a call of " + session)
        : engine.holdings().stream()
            .filter(held -> held.session().id().equals(session))
            .map(held -> held.describe(process.nanoTime()))
            .findFirst();
  }

  /** What is held for a session that no call has; empty when nothing is, as it always should be. */
  public Optional<String> leak() {
    return core.leaks().now().stream().map(held -> held.describe(process.nanoTime())).findFirst();
  }

  /** What it has come to do so far. */
  Reached reached() {
    return Reached.of(engine.status(), transfer.totals(), served.laterAttempts(), served.resumed());
  }

  /** Gives the memory of a dead process back. */
  void free() {
    transfer.close();
    engine.close();
  }
}
