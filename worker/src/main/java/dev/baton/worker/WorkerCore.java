package dev.baton.worker;

import dev.baton.engine.Engine;
import dev.baton.engine.ModelInfo;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.TransferTotals;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.Leak;
import dev.baton.proto.worker.v1.ModelIdentity;
import dev.baton.proto.worker.v1.PrefixWorkerGrpc;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.worker.control.ControlService;
import dev.baton.worker.ledger.Holding;
import dev.baton.worker.ledger.LeakWatch;
import dev.baton.worker.registry.RegistryLink;
import dev.baton.worker.session.Alarms;
import dev.baton.worker.session.Sessions;
import dev.baton.worker.step.Outbox;
import dev.baton.worker.step.Standstill;
import dev.baton.worker.step.StepLoop;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import dev.baton.worker.wire.Statuses;
import io.grpc.BindableService;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import java.util.random.RandomGenerator;

/**
 * A worker but for its threads and sockets: sessions, step loop, services, and what it tells the
 * router. {@link Worker} puts it on this machine; the simulation puts it on a clock and a network
 * of its own. Methods are for any thread.
 */
public final class WorkerCore {

  /**
   * What a worker takes from the world outside; the giver closes it.
   *
   * @param wake ends the rest of whoever runs the turns of {@link #loop}
   * @param nanoTime a clock that only rises, nanoseconds
   * @param computing whether threads that compute have worked since it was asked last; empty where
   *     nobody can tell
   * @param network to the router
   * @param grpcAddress host:port under which the router reaches the services; asked for at each
   *     registration
   * @param onFatal hears why this worker can never serve again, once or more, on any thread
   */
  public record Surroundings(
      Alarms alarms,
      Outbox outbox,
      Runnable wake,
      LongSupplier nanoTime,
      Optional<BooleanSupplier> computing,
      RegistryLink.Network network,
      RandomGenerator random,
      Supplier<String> grpcAddress,
      Consumer<Failure> onFatal) {}

  /**
   * What is leaked.
   *
   * @param now the oldest first
   * @param found since the start
   * @param suspected something is held that nobody answers for, but not for long yet
   */
  public record Leaks(List<Holding> now, long found, boolean suspected) {

    public Leaks {
      now = List.copyOf(now);
    }
  }

  /** Between two looks at what is held; an idle worker holds nothing and is not looked at. */
  private static final Duration LEAK_INTERVAL = Duration.ofSeconds(1);

  /** Leaks that a status names. */
  private static final int LEAKS_TOLD = 8;

  /** Statuses of an idle worker from one canary to the next: an idle worker should sleep. */
  private static final int IDLE_STATUSES = 8;

  private final WorkerOptions options;
  private final Surroundings surroundings;
  private final String id;
  private final Engine engine;
  private final Optional<KvTransfer> transfer;
  private final StepLoop loop;
  private final Sessions sessions;
  private final RegistryLink registry;
  private final LeakWatch leakWatch = new LeakWatch();
  private final Standstill standstill = new Standstill();
  private final AtomicBoolean starved = new AtomicBoolean();
  private final AtomicLong statuses = new AtomicLong();
  private final AtomicLong beats = new AtomicLong();
  private volatile Role role;
  private volatile boolean servesPrefixes;
  private final AtomicBoolean canaryOut = new AtomicBoolean();
  private volatile Leaks leaks = new Leaks(List.of(), 0, false);

  public WorkerCore(
      WorkerOptions options,
      Engine engine,
      Optional<KvTransfer> transfer,
      Surroundings surroundings) {
    byte[] suffix = new byte[3];
    surroundings.random().nextBytes(suffix);
    this.options = options;
    this.role = options.role();
    this.surroundings = surroundings;
    this.id =
        options.role().name().toLowerCase(Locale.ROOT) + "-" + HexFormat.of().formatHex(suffix);
    this.engine = engine;
    this.transfer = transfer;
    this.loop =
        new StepLoop(
            engine,
            surroundings.outbox(),
            this::stepFailed,
            surroundings.nanoTime(),
            surroundings.wake());
    this.sessions =
        new Sessions(
            engine.model(),
            loop,
            surroundings.outbox(),
            surroundings.alarms(),
            options.sessionLimit());
    this.registry =
        new RegistryLink(
            options.router(),
            this::registration,
            this::status,
            this::refused,
            surroundings.random(),
            surroundings.network());
  }

  /** Registers with the router, and looks after what sessions hold. */
  public void start() {
    registry.start();
    surroundings.alarms().after(LEAK_INTERVAL, this::lookForLeaks);
  }

  private void lookForLeaks() {
    boolean held =
        !engine.status().ledger().closed()
            || transfer.map(t -> t.totals().slabBytesInUse() > 0).orElse(false);
    if ((held || leaks.suspected()) && !loop.failed()) {
      loop.post(this::checkLeaks);
    }
    surroundings.alarms().after(LEAK_INTERVAL, this::lookForLeaks);
  }

  /** On the step thread, between two commands, each session's account is as it should be. */
  private void checkLeaks() {
    List<Holding> holdings = new ArrayList<>();
    engine.holdings().forEach(line -> holdings.add(Holding.of(line)));
    transfer.ifPresent(t -> t.holdings().forEach(line -> holdings.add(Holding.of(line))));
    List<Holding> leaked =
        leakWatch.look(holdings, sessions.claimants(), surroundings.nanoTime().getAsLong());
    leaks = new Leaks(leaked, leakWatch.found(), leakWatch.suspects());
  }

  /** What is held for sessions that no call has any more. */
  public Leaks leaks() {
    return leaks;
  }

  /** Name under which the router knows this worker. */
  public String id() {
    return id;
  }

  public StepLoop loop() {
    return loop;
  }

  public Sessions sessions() {
    return sessions;
  }

  public RegistryLink registry() {
    return registry;
  }

  /**
   * The gRPC services of this worker: control, and those of its roles.
   *
   * @param roles makes the service of a role
   */
  public List<BindableService> services(List<Function<WorkerContext, BindableService>> roles) {
    List<BindableService> services = new ArrayList<>();
    services.add(
        new ControlService(
            sessions, surroundings.alarms(), this::status, this::changeRole, registry::reportNow));
    WorkerContext context =
        new WorkerContext(engine.model(), engine, loop, sessions, transfer, surroundings.alarms());
    roles.forEach(role -> services.add(role.apply(context)));
    servesPrefixes =
        transfer.isPresent()
            && services.stream()
                .map(service -> service.bindService().getServiceDescriptor().getName())
                .anyMatch(PrefixWorkerGrpc.SERVICE_NAME::equals);
    return services;
  }

  /** The status that the router would get now. */
  public WorkerStatus status() {
    Optional<TransferTotals> totals = transfer.map(KvTransfer::totals);
    totals.ifPresent(this::checkSlabs);
    long progress = 1 + engine.progress();
    OptionalLong asleep = asleepNanos(progress);
    sendCanary();
    WorkerStatus.Builder status =
        Statuses.write(statuses.incrementAndGet(), sessions.draining(), engine.status(), totals)
            .toBuilder();
    asleep.ifPresent(nanos -> status.setAsleepMillis(nanos / 1_000_000));
    return status
        .setProgress(progress)
        .setBeats(beats.get())
        .setRole(role)
        .addAllLeaks(leaksTold())
        .setLeaksFound(leaks.found())
        .build();
  }

  private OptionalLong asleepNanos(long progress) {
    if (surroundings.computing().isEmpty()) {
      return OptionalLong.empty();
    }
    BooleanSupplier computing = surroundings.computing().get();
    boolean busy = sessions.count() > 0;
    // Statuses are asked for by the registry's thread and by calls.
    synchronized (standstill) {
      return OptionalLong.of(
          standstill.look(
              busy,
              progress,
              beats.get(),
              busy && computing.getAsBoolean(),
              surroundings.nanoTime().getAsLong()));
    }
  }

  private List<Leak> leaksTold() {
    long now = surroundings.nanoTime().getAsLong();
    return leaks.now().stream().limit(LEAKS_TOLD).map(held -> Statuses.leak(held, now)).toList();
  }

  /** Throws {@link RefusedException} for a role that this worker cannot have. */
  private void changeRole(Role next) {
    switch (next) {
      case PREFILL, DECODE -> {
        if (transfer.isEmpty()) {
          throw new RefusedException(
              Failures.invalid(
                  "role",
                  "role: %s (expected: BOTH on a worker that was started without hand-off)"
                      .formatted(next)));
        }
      }
      case BOTH -> {}
      case ROLE_UNSPECIFIED, UNRECOGNIZED ->
          throw new RefusedException(
              Failures.invalid(
                  "role", "role: %s (expected: PREFILL, DECODE or BOTH)".formatted(next)));
    }
    role = next;
  }

  /**
   * The step thread is asked for a sign of life; one that has nothing to do seldom, but it is: a
   * router that fenced this worker while it could not reach it waits for such a sign, and gives it
   * no session that could show progress.
   */
  private void sendCanary() {
    boolean due = sessions.count() > 0 || statuses.get() % IDLE_STATUSES == 0;
    if (due && canaryOut.compareAndSet(false, true)) {
      loop.post(
          () -> {
            canaryOut.set(false);
            beats.incrementAndGet();
          });
    }
  }

  /** A worker that has lost half its slabs for good starves its hand-offs: it must start anew. */
  private void checkSlabs(TransferTotals totals) {
    long all = totals.slabBytes();
    if (2 * totals.slabBytesQuarantined() > all && starved.compareAndSet(false, true)) {
      fail(
          Failures.of(
              ErrorCode.INTERNAL,
              "worker %s: %d bytes of slabs are quarantined (expected: at most half of %d)"
                  .formatted(id, totals.slabBytesQuarantined(), all)));
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
    surroundings.onFatal().accept(failure);
  }

  private Registration registration() {
    ModelInfo model = engine.model();
    return Registration.newBuilder()
        .setWorkerId(id)
        .setRole(role)
        .setGrpcAddress(surroundings.grpcAddress().get())
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
        .setHandOff(transfer.isPresent())
        .setPrefixFetch(servesPrefixes)
        .setModelDirectory(
            options.engine().modelDirectory().toAbsolutePath().normalize().toString())
        .build();
  }
}
