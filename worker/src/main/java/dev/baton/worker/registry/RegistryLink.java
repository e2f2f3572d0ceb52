package dev.baton.worker.registry;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.RegistryReply;
import dev.baton.proto.worker.v1.WorkerRegistryGrpc;
import dev.baton.proto.worker.v1.WorkerReport;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.HostPort;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A worker's stream to the router: registers, reports the status at the interval that the router
 * asks for, and comes back after the router was away. A refusal ends it for good.
 *
 * <p>One thread, {@code baton-registry}, runs everything, the callbacks of the channel included.
 * Each attempt has a channel of its own: the router's name is resolved anew, and gRPC's own
 * reconnect pauses, which grow to minutes, stay out of it.
 */
public final class RegistryLink implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(RegistryLink.class);

  /** A router that has accepted the connection answers a registration at once. */
  private static final Duration ANSWER = Duration.ofSeconds(5);

  private static final int LEAST_INTERVAL_MILLIS = 10;

  /** How a link reaches its router. */
  public interface Network {

    /** The one thread that runs everything of the link, in order; the link shuts it down. */
    ScheduledExecutorService thread();

    /** A new channel whose callbacks run on that thread. */
    ManagedChannel connect(HostPort router);
  }

  private final HostPort router;
  private final Supplier<Registration> registration;
  private final Supplier<WorkerStatus> status;
  private final Consumer<Failure> onRefused;
  private final Backoff backoff;
  private final Network network;
  private final ScheduledExecutorService thread;
  private @Nullable Link link;
  private boolean closed;
  private boolean outageLogged;

  /**
   * @param registration asked for at each attempt
   * @param status asked for at each report
   * @param onRefused hears on the link's thread that the router does not want this worker
   */
  public RegistryLink(
      HostPort router,
      Supplier<Registration> registration,
      Supplier<WorkerStatus> status,
      Consumer<Failure> onRefused,
      RandomGenerator random) {
    this(router, registration, status, onRefused, random, new NettyNetwork(Optional.empty()));
  }

  /** As above, over a network of the caller's. */
  public RegistryLink(
      HostPort router,
      Supplier<Registration> registration,
      Supplier<WorkerStatus> status,
      Consumer<Failure> onRefused,
      RandomGenerator random,
      Network network) {
    this.router = router;
    this.registration = registration;
    this.status = status;
    this.onRefused = onRefused;
    this.backoff = new Backoff(Duration.ofMillis(100), Duration.ofSeconds(2), random);
    this.network = network;
    this.thread = network.thread();
  }

  /** Begins to connect; returns at once. */
  public void start() {
    thread.execute(this::connect);
  }

  /** Reports the status now, besides the regular ones. Any thread. */
  public void reportNow() {
    try {
      thread.execute(
          () -> {
            if (link != null && link.accepted) {
              link.report();
            }
          });
    } catch (RejectedExecutionException e) {
      log.debug("status not reported: the link is closed");
    }
  }

  /** Ends the stream in order, and the thread. */
  @Override
  public void close() {
    try {
      thread.execute(
          () -> {
            closed = true;
            if (link != null) {
              link.leave();
            }
            thread.shutdown();
          });
      if (!thread.awaitTermination(3, TimeUnit.SECONDS)) {
        thread.shutdownNow();
      }
    } catch (RejectedExecutionException e) {
      log.debug("link closed twice");
    } catch (InterruptedException e) {
      thread.shutdownNow();
      Thread.currentThread().interrupt();
    }
  }

  private void connect() {
    if (!closed) {
      link = new Link();
      link.open();
    }
  }

  private void lost(Link which, String why) {
    if (link != which) {
      return;
    }
    which.drop();
    link = null;
    if (closed) {
      return;
    }
    if (!outageLogged) {
      outageLogged = true;
      log.warn("router {}: {}; trying again", router, why);
    }
    thread.schedule(this::connect, backoff.next().toMillis(), TimeUnit.MILLISECONDS);
  }

  /** One attempt, from its channel to its loss. */
  private final class Link implements StreamObserver<RegistryReply> {

    private final ManagedChannel channel = network.connect(router);
    private @Nullable StreamObserver<WorkerReport> reports;
    private @Nullable Future<?> timer;
    private boolean accepted;

    void open() {
      reports = WorkerRegistryGrpc.newStub(channel).register(this);
      reports.onNext(WorkerReport.newBuilder().setRegistration(registration.get()).build());
      timer =
          thread.schedule(
              () -> lost(this, "no answer within " + ANSWER.toSeconds() + " s"),
              ANSWER.toMillis(),
              TimeUnit.MILLISECONDS);
    }

    void report() {
      if (reports != null) {
        reports.onNext(WorkerReport.newBuilder().setStatus(status.get()).build());
      }
    }

    void leave() {
      if (reports != null && link == this) {
        reports.onCompleted();
      }
      stopTimer();
      channel.shutdown();
      try {
        if (!channel.awaitTermination(1, TimeUnit.SECONDS)) {
          channel.shutdownNow();
        }
      } catch (InterruptedException e) {
        channel.shutdownNow();
        Thread.currentThread().interrupt();
      }
    }

    void drop() {
      stopTimer();
      channel.shutdownNow();
    }

    private void stopTimer() {
      if (timer != null) {
        timer.cancel(false);
      }
    }

    @Override
    public void onNext(RegistryReply reply) {
      if (link != this) {
        return;
      }
      switch (reply.getReplyCase()) {
        case ACCEPTED -> accepted(reply.getAccepted().getStatusIntervalMillis());
        case REFUSED -> refused(reply.getRefused());
        case REPLY_NOT_SET -> log.warn("router {}: empty reply", router);
      }
    }

    private void accepted(int intervalMillis) {
      accepted = true;
      backoff.reset();
      outageLogged = false;
      log.info("registered with router {}", router);
      stopTimer();
      timer =
          thread.scheduleAtFixedRate(
              this::report,
              0,
              Math.max(LEAST_INTERVAL_MILLIS, intervalMillis),
              TimeUnit.MILLISECONDS);
    }

    private void refused(Failure failure) {
      log.error(
          "router {} refuses this worker: {} {}", router, failure.getCode(), failure.getMessage());
      closed = true;
      drop();
      onRefused.accept(failure);
    }

    @Override
    public void onError(Throwable cause) {
      if (link == this && Status.fromThrowable(cause).getCode() == Status.Code.UNAUTHENTICATED) {
        refused(
            Failures.of(
                ErrorCode.INVALID_REQUEST,
                Status.fromThrowable(cause).getDescription()
                    + "; give router and workers the same file: --cluster-secret-file"));
        return;
      }
      lost(this, String.valueOf(cause.getMessage()));
    }

    @Override
    public void onCompleted() {
      lost(this, "the router ended the stream");
    }
  }
}
