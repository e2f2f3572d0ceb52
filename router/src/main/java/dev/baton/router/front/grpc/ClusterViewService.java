package dev.baton.router.front.grpc;

import dev.baton.proto.router.v1.ClusterSnapshot;
import dev.baton.proto.router.v1.ClusterViewGrpc;
import dev.baton.proto.router.v1.WatchRequest;
import dev.baton.proto.router.v1.WorkerView;
import dev.baton.router.registry.Worker;
import dev.baton.router.registry.WorkerDirectory;
import dev.baton.router.session.Sessions;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongSupplier;

/**
 * Snapshots of the cluster for whoever watches. A snapshot that cannot be sent at once is left out.
 */
public final class ClusterViewService extends ClusterViewGrpc.ClusterViewImplBase {

  private static final int DEFAULT_INTERVAL_MILLIS = 1000;
  private static final int LEAST_INTERVAL_MILLIS = 100;
  private static final int MOST_INTERVAL_MILLIS = 60_000;
  private static final int MOST_SESSIONS = 10_000;
  private static final int MOST_WATCHERS = 64;

  private final WorkerDirectory directory;
  private final Sessions sessions;
  private final ScheduledExecutorService timer;
  private final LongSupplier nanoTime;
  private final AtomicInteger watchers = new AtomicInteger();

  /**
   * @param timer runs what makes and sends the snapshots, which does not block
   */
  public ClusterViewService(
      WorkerDirectory directory,
      Sessions sessions,
      ScheduledExecutorService timer,
      LongSupplier nanoTime) {
    this.directory = directory;
    this.sessions = sessions;
    this.timer = timer;
    this.nanoTime = nanoTime;
  }

  @Override
  public void watch(WatchRequest request, StreamObserver<ClusterSnapshot> observer) {
    ServerCallStreamObserver<ClusterSnapshot> watcher =
        (ServerCallStreamObserver<ClusterSnapshot>) observer;
    int interval =
        request.getIntervalMillis() == 0 ? DEFAULT_INTERVAL_MILLIS : request.getIntervalMillis();
    String wrong = wrong(interval, request.getMaxSessions());
    if (!wrong.isEmpty()) {
      watcher.onError(Status.INVALID_ARGUMENT.withDescription(wrong).asRuntimeException());
      return;
    }
    if (watchers.incrementAndGet() > MOST_WATCHERS) {
      watchers.decrementAndGet();
      watcher.onError(
          Status.RESOURCE_EXHAUSTED
              .withDescription("watchers: %d are here already".formatted(MOST_WATCHERS))
              .asRuntimeException());
      return;
    }
    watcher.setOnCancelHandler(watchers::decrementAndGet);
    try {
      Ticker ticker = new Ticker(watcher, request.getMaxSessions());
      ticker.every(interval);
    } catch (RejectedExecutionException e) {
      watcher.onError(
          Status.UNAVAILABLE.withDescription("the router is shutting down").asRuntimeException());
    }
  }

  private static String wrong(int interval, int maxSessions) {
    if (interval < LEAST_INTERVAL_MILLIS || interval > MOST_INTERVAL_MILLIS) {
      return "interval_millis: %d (expected: %d to %d)"
          .formatted(interval, LEAST_INTERVAL_MILLIS, MOST_INTERVAL_MILLIS);
    }
    return maxSessions < 0 || maxSessions > MOST_SESSIONS
        ? "max_sessions: %d (expected: 0 to %d)".formatted(maxSessions, MOST_SESSIONS)
        : "";
  }

  private ClusterSnapshot snapshot(int maxSessions) {
    ClusterSnapshot.Builder snapshot =
        ClusterSnapshot.newBuilder()
            .setActiveSessions(sessions.active())
            .setWaitingSessions(sessions.waiting())
            .setAtMillis(TimeUnit.NANOSECONDS.toMillis(nanoTime.getAsLong()))
            .addAllSessions(sessions.views(maxSessions));
    for (Worker worker : directory.workers()) {
      WorkerView.Builder view =
          WorkerView.newBuilder()
              .setRegistration(worker.registration())
              .setSilentMillis(directory.silence(worker).toMillis())
              .setOpen(worker.open());
      worker.status().ifPresent(view::setStatus);
      snapshot.addWorkers(view);
    }
    return snapshot.build();
  }

  /** Sends to one watcher until it goes. */
  private final class Ticker implements Runnable {
    private final ServerCallStreamObserver<ClusterSnapshot> watcher;
    private final int maxSessions;
    private volatile Future<?> task = CompletableFuture.completedFuture(null);

    Ticker(ServerCallStreamObserver<ClusterSnapshot> watcher, int maxSessions) {
      this.watcher = watcher;
      this.maxSessions = maxSessions;
    }

    void every(int millis) {
      task = timer.scheduleAtFixedRate(this, 0, millis, TimeUnit.MILLISECONDS);
    }

    @Override
    public void run() {
      if (watcher.isCancelled()) {
        task.cancel(false);
      } else if (watcher.isReady()) {
        watcher.onNext(snapshot(maxSessions));
      }
    }
  }
}
