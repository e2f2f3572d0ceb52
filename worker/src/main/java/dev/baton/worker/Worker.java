package dev.baton.worker;

import dev.baton.engine.Engine;
import dev.baton.engine.ModelInfo;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.TransferTotals;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.ModelIdentity;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.worker.control.ControlService;
import dev.baton.worker.metrics.MetricsEndpoint;
import dev.baton.worker.metrics.WorkerMetrics;
import dev.baton.worker.registry.RegistryLink;
import dev.baton.worker.session.Sessions;
import dev.baton.worker.session.ThreadAlarms;
import dev.baton.worker.step.Outbox;
import dev.baton.worker.step.StepLoop;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.HostPort;
import dev.baton.worker.wire.Statuses;
import io.grpc.BindableService;
import io.grpc.Server;
import io.grpc.netty.NettyServerBuilder;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
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

  /** Between two lines of the log about a drain. */
  private static final Duration DRAIN_LOG = Duration.ofSeconds(5);

  private final WorkerOptions options;
  private final String id;
  private final Engine engine;
  private final Optional<KvTransfer> transfer;
  private final ThreadAlarms alarms = new ThreadAlarms();
  private final Outbox outbox = new Outbox();
  private final StepLoop loop;
  private final Sessions sessions;
  private final RegistryLink registry;
  private final AtomicBoolean starved = new AtomicBoolean();
  private final AtomicLong statuses = new AtomicLong();
  private final CompletableFuture<String> fatal = new CompletableFuture<>();
  private @Nullable Server server;
  private @Nullable MetricsEndpoint metrics;
  private boolean closed;

  private Worker(WorkerOptions options, Engine engine, Optional<KvTransfer> transfer) {
    SecureRandom random = new SecureRandom();
    byte[] suffix = new byte[3];
    random.nextBytes(suffix);
    this.options = options;
    this.id =
        options.role().name().toLowerCase(Locale.ROOT) + "-" + HexFormat.of().formatHex(suffix);
    this.engine = engine;
    this.transfer = transfer;
    this.loop = new StepLoop(engine, outbox, this::stepFailed, System::nanoTime);
    this.sessions = new Sessions(engine.model(), loop, outbox, alarms, options.sessionLimit());
    this.registry =
        new RegistryLink(options.router(), this::registration, this::status, this::refused, random);
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
    Optional<KvTransfer> transfer = options.transfer().map(KvTransferFactory::open);
    Engine engine;
    try {
      engine = Engine.load(options.engine(), log::info);
    } catch (RuntimeException e) {
      transfer.ifPresent(KvTransfer::close);
      throw e;
    }
    return start(options, engine, transfer, services);
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
    worker.loop.start();
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
            .keepAliveTimeout(5, TimeUnit.SECONDS)
            .addService(new ControlService(sessions, alarms, this::status, registry::reportNow));
    WorkerContext context =
        new WorkerContext(engine.model(), engine, loop, sessions, transfer, alarms);
    services.forEach(service -> builder.addService(service.apply(context)));
    try {
      server = builder.build().start();
    } catch (IOException e) {
      throw new IOException(
          "grpcPort: %s (expected: a free port of this host)"
              .formatted(new HostPort(options.host(), options.grpcPort())),
          e);
    }
    if (options.metricsPort() > 0) {
      WorkerMetrics meters = new WorkerMetrics(engine::status, sessions::count);
      transfer.ifPresent(t -> meters.addHandoffs(t::totals));
      metrics = new MetricsEndpoint(options.host(), options.metricsPort(), meters);
    }
    registry.start();
    ModelInfo model = engine.model();
    log.info(
        "worker {}: {} of {} ({}, fingerprint {}), {} ranks, {} blocks of {} tokens, gRPC {},"
            + " hand-off {}",
        id,
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
    return id;
  }

  /** host:port of the gRPC server. */
  public String grpcAddress() {
    return new HostPort(options.host(), server == null ? 0 : server.getPort()).toString();
  }

  /** Sessions here, those still freeing included. */
  public int sessions() {
    return sessions.count();
  }

  /** The status that the router would get now. */
  public WorkerStatus status() {
    Optional<TransferTotals> totals = transfer.map(KvTransfer::totals);
    totals.ifPresent(this::checkSlabs);
    return Statuses.write(statuses.incrementAndGet(), sessions.draining(), engine.status(), totals);
  }

  /** A worker that has lost half its slabs for good starves its hand-offs: it must start anew. */
  private void checkSlabs(TransferTotals totals) {
    long all =
        options
            .transfer()
            .map(o -> (long) o.slabBytes() * (o.exportSlabs() + o.importSlabs()))
            .orElse(0L);
    if (2 * totals.slabBytesQuarantined() > all && starved.compareAndSet(false, true)) {
      fail(
          Failures.of(
              ErrorCode.INTERNAL,
              "worker %s: %d bytes of slabs are quarantined (expected: at most half of %d)"
                  .formatted(id, totals.slabBytesQuarantined(), all)));
    }
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
   * Takes no new session, lets those here finish for {@code grace} at most, then closes. Blocks
   * until all is freed.
   */
  public synchronized void drainAndClose(Duration grace) {
    if (closed) {
      return;
    }
    closed = true;
    drain(grace);
    if (server != null) {
      stop(server);
    }
    transfer.ifPresent(KvTransfer::close);
    loop.close();
    outbox.close();
    if (metrics != null) {
      metrics.close();
    }
    alarms.close();
    registry.close();
    log.info("worker {}: closed", id);
  }

  /** Closes without letting sessions finish. */
  @Override
  public void close() {
    drainAndClose(Duration.ZERO);
  }

  private void drain(Duration grace) {
    CompletableFuture<Void> empty =
        sessions.drain(Failures.of(ErrorCode.DRAINING, "worker: draining (expected: another)"));
    registry.reportNow();
    if (awaitLoggingProgress(empty, grace)) {
      return;
    }
    log.info("worker {}: {} sessions did not finish in time", id, sessions.count());
    sessions.stopAll(
        Failures.of(
            ErrorCode.DRAINING,
            "session: not finished within the worker's grace of %d ms"
                .formatted(grace.toMillis())));
    if (!await(empty, STOP)) {
      log.warn("worker {}: {} sessions still hold blocks", id, sessions.count());
    }
  }

  private boolean awaitLoggingProgress(CompletableFuture<Void> empty, Duration grace) {
    Duration left = grace;
    while (left.compareTo(DRAIN_LOG) > 0) {
      if (await(empty, Duration.ZERO)) {
        return true;
      }
      log.info(
          "worker {}: draining, {} sessions left, {} s to go",
          id,
          sessions.count(),
          left.toSeconds());
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

  private void stepFailed(Throwable cause) {
    fail(Failures.of(ErrorCode.INTERNAL, "worker " + id + ": step failed: " + cause));
  }

  private void refused(Failure failure) {
    fail(
        Failures.of(
            failure.getCode(), "router refuses worker " + id + ": " + failure.getMessage()));
  }

  private void fail(Failure failure) {
    sessions.stopAll(failure);
    registry.reportNow();
    // On a thread of its own: who hears it may close the worker, and so wait for this thread.
    fatal.completeAsync(failure::getMessage, Thread.ofVirtual().name("baton-fatal")::start);
  }

  private Registration registration() {
    ModelInfo model = engine.model();
    return Registration.newBuilder()
        .setWorkerId(id)
        .setRole(options.role())
        .setGrpcAddress(grpcAddress())
        .setModel(
            ModelIdentity.newBuilder()
                .setName(model.name())
                .setFingerprint(model.fingerprint())
                .setContextLength(model.contextLength())
                .setVocabularySize(model.vocabularySize())
                .setDtype(model.kvDtype().name().toLowerCase(Locale.ROOT)))
        .setTensorParallel(options.engine().tensorParallel())
        .setBlockTokens(options.engine().blockTokens())
        .setBlockCapacity(engine.status().ledger().capacity())
        .setMaxSessions(options.engine().maxSessions())
        .setVersion(options.version())
        .setModelDirectory(
            options.engine().modelDirectory().toAbsolutePath().normalize().toString())
        .build();
  }
}
