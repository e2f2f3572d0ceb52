package dev.baton.worker;

import dev.baton.device.DeviceSlabs;
import dev.baton.engine.DeviceOptions;
import dev.baton.engine.Engine;
import dev.baton.engine.ModelInfo;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.ucx.UcxTransport;
import dev.baton.peer.PeerAuthentication;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.worker.metrics.MetricsEndpoint;
import dev.baton.worker.metrics.WorkerMetrics;
import dev.baton.worker.registry.NettyNetwork;
import dev.baton.worker.session.ThreadAlarms;
import dev.baton.worker.step.ComputingThreads;
import dev.baton.worker.step.Outbox;
import dev.baton.worker.step.StepThread;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.HostPort;
import io.grpc.BindableService;
import io.grpc.Server;
import io.grpc.netty.NettyServerBuilder;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One worker of this process: an engine with its step thread, the transfer when KV is handed off, a
 * gRPC server with the services of its roles, and the stream to the router. Methods are for any
 * thread.
 *
 * <p>The worker owns what it was started with and closes it in this order: sessions, server,
 * transfer (after which nobody touches blocks), engine, and the registry's stream last, so that the
 * router sees a draining worker until there is none.
 */
public final class Worker implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(Worker.class);

  /** Prompts of a million tokens fit. */
  private static final int MAX_MESSAGE_BYTES = 16 << 20;

  /** Sessions that were told to stop have left by then, unless a transfer hangs. */
  private static final Duration STOP = Duration.ofSeconds(2);

  /** Between two looks at the chips. */
  private static final Duration HEALTH = Duration.ofSeconds(5);

  /** Bounds the part of a request's energy that counts with the power before it. */
  private static final Duration POWER = Duration.ofMillis(100);

  /** Between two lines of the log about a drain. */
  private static final Duration DRAIN_LOG = Duration.ofSeconds(5);

  private final WorkerOptions options;
  private final Engine engine;
  private final Optional<KvTransfer> transfer;
  private final ThreadAlarms alarms = new ThreadAlarms();
  private final Outbox outbox = new Outbox();
  private final StepThread stepThread = new StepThread();
  private final WorkerCore core;
  private final CompletableFuture<String> fatal = new CompletableFuture<>();
  private final HealthWatch health;
  private final PowerWatch power;
  private final EnergyShares energy = new EnergyShares();
  private @Nullable Server server;
  private @Nullable MetricsEndpoint metrics;
  private boolean closed;

  private Worker(WorkerOptions options, Engine engine, Optional<KvTransfer> transfer) {
    this.options = options;
    this.engine = engine;
    this.transfer = transfer;
    this.health = new HealthWatch(engine::health, HEALTH);
    this.power =
        new PowerWatch(
            () -> {
              double joules = engine.measureEnergy();
              energy.look(joules, engine.status());
              return joules;
            },
            POWER);
    this.core =
        new WorkerCore(
            options,
            engine,
            transfer,
            new WorkerCore.Surroundings(
                alarms,
                outbox,
                stepThread::wake,
                System::nanoTime,
                // A thread that waits for a GPU sleeps, however well it is.
                options.engine().device().kind() == DeviceOptions.Kind.CPU
                    ? Optional.of(new ComputingThreads())
                    : Optional.empty(),
                new NettyNetwork(peers(options)),
                new SecureRandom(),
                this::registeredAddress,
                this::cannotServe));
  }

  /**
   * Loads the model, opens the transfer where hand-offs are on, and starts to serve.
   *
   * @param services of the worker's roles
   * @throws dev.baton.engine.EngineException the model cannot be loaded
   * @throws IllegalStateException hand-offs are on and UCX is not installed, or cannot listen
   * @throws IOException a port is taken, or the host is not ours
   */
  public static Worker start(
      WorkerOptions options, List<Function<WorkerContext, BindableService>> services)
      throws IOException {
    // Before the model, which takes longer to load than a missing library to be found.
    Optional<UcxTransport> transport = options.transfer().map(KvTransferFactory::listen);
    Engine engine;
    Optional<KvTransfer> transfer;
    try {
      if (transport.isPresent()) {
        TransferOptions asked = options.transfer().get();
        UcxTransport ucx = transport.get();
        SlabPlacement placement = SlabPlacement.of(options.engine().device(), ucx.knowsCuda());
        log.info(
            "hand-offs: slabs {}: {}",
            placement.onDevice() ? "on the GPU" : "in host memory",
            placement.reason());
        TransferOptions sized = placement.sized(asked);
        engine = Engine.load(placement.reserved(options.engine(), sized), log::info);
        transfer = Optional.of(open(placement, sized, ucx, engine));
      } else {
        engine = Engine.load(options.engine(), log::info);
        transfer = Optional.empty();
      }
    } catch (RuntimeException e) {
      transport.ifPresent(UcxTransport::close);
      throw e;
    }
    return start(options, engine, transfer, services);
  }

  private static KvTransfer open(
      SlabPlacement placement, TransferOptions options, UcxTransport ucx, Engine engine) {
    try {
      DeviceSlabs slabs = engine.slabs();
      if (slabs != null && !slabs.onHost()) {
        ucx.payloadsOnCuda(slabs::bindThread);
      }
      return placement.open(options, ucx, engine);
    } catch (RuntimeException e) {
      engine.close();
      throw e;
    }
  }

  /**
   * Starts a worker on an engine and a transfer that are there already, and takes them over, also
   * when it fails.
   *
   * @param services of the worker's roles
   * @throws IOException a port is taken, or the host is not ours
   */
  public static Worker start(
      WorkerOptions options,
      Engine engine,
      Optional<KvTransfer> transfer,
      List<Function<WorkerContext, BindableService>> services)
      throws IOException {
    Worker worker = new Worker(options, engine, transfer);
    worker.stepThread.start(worker.core.loop());
    try {
      worker.serve(services);
    } catch (IOException | RuntimeException e) {
      worker.close();
      throw e;
    }
    return worker;
  }

  private void serve(List<Function<WorkerContext, BindableService>> services) throws IOException {
    NettyServerBuilder builder =
        NettyServerBuilder.forAddress(new InetSocketAddress(options.host(), options.grpcPort()))
            .executor(
                Executors.newThreadPerTaskExecutor(
                    Thread.ofVirtual().name("baton-rpc-", 0).factory()))
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .permitKeepAliveTime(500, TimeUnit.MILLISECONDS)
            .permitKeepAliveWithoutCalls(true)
            // A router that vanished without a reset must not hold its sessions here.
            .keepAliveTime(5, TimeUnit.SECONDS)
            .keepAliveTimeout(5, TimeUnit.SECONDS);
    peers(options).map(PeerAuthentication::server).ifPresent(builder::intercept);
    core.services(services).forEach(builder::addService);
    try {
      server = builder.build().start();
    } catch (IOException e) {
      throw new IOException(
          "grpcPort: %s (expected: a free port of this host)"
              .formatted(new HostPort(options.host(), options.grpcPort())),
          e);
    }
    if (options.metricsPort() > 0) {
      WorkerMetrics meters = new WorkerMetrics(engine::status, this::sessions);
      meters.addLeaks(core::leaks);
      transfer.ifPresent(t -> meters.addHandoffs(t::totals));
      meters.addChips(health::last);
      meters.addEnergy(
          () -> energy.shared().prompts(),
          () -> energy.shared().generated(),
          () -> energy.shared().idle());
      metrics = new MetricsEndpoint(options.host(), options.metricsPort(), meters);
    }
    core.start();
    health.start();
    power.start();
    ModelInfo model = engine.model();
    log.info(
        "worker {}: {} of {} ({}, fingerprint {}), {} ranks, {} blocks of {} tokens, gRPC {},"
            + " hand-off {}",
        id(),
        options.role(),
        model.name(),
        model.kvDtype(),
        model.fingerprint(),
        options.engine().tensorParallel(),
        engine.status().ledger().capacity(),
        options.engine().blockTokens(),
        grpcAddress(),
        transfer.map(KvTransfer::address).orElse("off"));
  }

  /** Name under which the router knows this worker. */
  public String id() {
    return core.id();
  }

  /** host:port of the gRPC server. */
  public String grpcAddress() {
    return new HostPort(options.host(), server == null ? 0 : server.getPort()).toString();
  }

  private String registeredAddress() {
    return options.registerAs().map(HostPort::toString).orElseGet(this::grpcAddress);
  }

  /** Sessions here, those still freeing included. */
  public int sessions() {
    return core.sessions().count();
  }

  /** The status that the router would get now. */
  public WorkerStatus status() {
    return core.status();
  }

  /**
   * Completes with the reason when this worker can never serve again: a step failed, or the router
   * refuses it. All sessions have failed by then; what is left is to {@link #close} and to end the
   * process.
   */
  public CompletionStage<String> fatal() {
    return fatal.minimalCompletionStage();
  }

  /**
   * Completes with the reason when the hardware can no longer be relied on. Sessions still run:
   * what is to be done is to {@link #drainAndClose} and to end the process.
   */
  public CompletionStage<String> sick() {
    return health.sick();
  }

  /**
   * Takes no new session, lets those here finish for {@code grace} at most, then closes. Blocks
   * until all is freed.
   */
  public synchronized void drainAndClose(Duration grace) {
    if (closed) {
      return;
    }
    closed = true;
    health.close();
    power.close();
    drain(grace);
    if (server != null) {
      stop(server);
    }
    transfer.ifPresent(KvTransfer::close);
    stepThread.close();
    outbox.close();
    if (metrics != null) {
      metrics.close();
    }
    alarms.close();
    core.registry().close();
    log.info("worker {}: closed", id());
  }

  /** Closes without letting sessions finish. */
  @Override
  public void close() {
    drainAndClose(Duration.ZERO);
  }

  private void drain(Duration grace) {
    CompletableFuture<Void> empty =
        core.sessions()
            .drain(Failures.of(ErrorCode.DRAINING, "worker: draining (expected: another)"));
    core.registry().reportNow();
    if (awaitLoggingProgress(empty, grace)) {
      return;
    }
    log.info("worker {}: {} sessions did not finish in time", id(), sessions());
    core.sessions()
        .stopAll(
            Failures.of(
                ErrorCode.DRAINING,
                "session: not finished within the worker's grace of %d ms"
                    .formatted(grace.toMillis())));
    if (!await(empty, STOP)) {
      log.warn("worker {}: {} sessions still hold blocks", id(), sessions());
    }
  }

  private boolean awaitLoggingProgress(CompletableFuture<Void> empty, Duration grace) {
    Duration left = grace;
    while (left.compareTo(DRAIN_LOG) > 0) {
      if (await(empty, Duration.ZERO)) {
        return true;
      }
      log.info(
          "worker {}: draining, {} sessions left, {} s to go", id(), sessions(), left.toSeconds());
      if (await(empty, DRAIN_LOG)) {
        return true;
      }
      left = left.minus(DRAIN_LOG);
    }
    return await(empty, left);
  }

  private static boolean await(CompletableFuture<Void> empty, Duration most) {
    try {
      empty.get(most.toNanos(), TimeUnit.NANOSECONDS);
      return true;
    } catch (TimeoutException e) {
      return false;
    } catch (ExecutionException e) {
      throw new IllegalStateException("drain: failed (expected: never)", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  private static Optional<PeerAuthentication> peers(WorkerOptions options) {
    return options.clusterSecret().map(PeerAuthentication::new);
  }

  private static void stop(Server server) {
    server.shutdown();
    try {
      if (!server.awaitTermination(STOP.toNanos(), TimeUnit.NANOSECONDS)) {
        server.shutdownNow();
      }
    } catch (InterruptedException e) {
      server.shutdownNow();
      Thread.currentThread().interrupt();
    }
  }

  private void cannotServe(Failure failure) {
    // On a thread of its own: who hears it may close the worker, and so wait for this thread.
    fatal.completeAsync(failure::getMessage, Thread.ofVirtual().name("baton-fatal")::start);
  }
}
