package dev.baton.worker.control;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.DrainProgress;
import dev.baton.proto.worker.v1.DrainRequest;
import dev.baton.proto.worker.v1.GetStatusRequest;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SetRoleRequest;
import dev.baton.proto.worker.v1.WorkerControlGrpc;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.worker.session.Alarms;
import dev.baton.worker.session.Sessions;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * The calls that ask a worker about itself or tell it to leave. A drain stays when its call is
 * cancelled: who told a worker to leave may leave first.
 */
public final class ControlService extends WorkerControlGrpc.WorkerControlImplBase {

  private static final Failure DRAINING =
      Failures.of(ErrorCode.DRAINING, "worker: draining (expected: another worker)");

  private final Sessions sessions;
  private final Alarms alarms;
  private final Supplier<WorkerStatus> status;
  private final Consumer<Role> onRole;
  private final Runnable onChange;

  /**
   * @param onRole takes a new role; throws RefusedException
   * @param onChange told that the status has changed
   */
  public ControlService(
      Sessions sessions,
      Alarms alarms,
      Supplier<WorkerStatus> status,
      Consumer<Role> onRole,
      Runnable onChange) {
    this.sessions = sessions;
    this.alarms = alarms;
    this.status = status;
    this.onRole = onRole;
    this.onChange = onChange;
  }

  @Override
  public void getStatus(GetStatusRequest request, StreamObserver<WorkerStatus> observer) {
    observer.onNext(status.get());
    observer.onCompleted();
  }

  @Override
  public void setRole(SetRoleRequest request, StreamObserver<WorkerStatus> observer) {
    try {
      onRole.accept(request.getRole());
    } catch (RefusedException e) {
      observer.onError(
          Status.INVALID_ARGUMENT.withDescription(e.failure().getMessage()).asRuntimeException());
      return;
    }
    onChange.run();
    getStatus(GetStatusRequest.getDefaultInstance(), observer);
  }

  @Override
  public void drain(DrainRequest request, StreamObserver<DrainProgress> observer) {
    if (request.getDeadlineMillis() < 0) {
      observer.onError(
          Status.INVALID_ARGUMENT
              .withDescription(
                  "deadline_millis: %d (expected: >= 0)".formatted(request.getDeadlineMillis()))
              .asRuntimeException());
      return;
    }
    Progress progress = new Progress((ServerCallStreamObserver<DrainProgress>) observer);
    Runnable unwatch = sessions.watch(progress::left);
    ((ServerCallStreamObserver<DrainProgress>) observer).setOnCancelHandler(unwatch);
    progress.left(sessions.count());
    var empty = sessions.drain(DRAINING);
    onChange.run();
    Alarms.Alarm deadline =
        request.getDeadlineMillis() == 0
            ? () -> {}
            : alarms.after(
                Duration.ofMillis(request.getDeadlineMillis()),
                () ->
                    sessions.stopAll(
                        Failures.of(
                            ErrorCode.DRAINING,
                            "session: not finished within the drain's %d ms"
                                .formatted(request.getDeadlineMillis()))));
    empty.thenRun(
        () -> {
          unwatch.run();
          deadline.cancel();
          progress.end();
        });
  }

  /** Serializes the two threads that report: the call's, and the step thread. */
  private static final class Progress {

    private final ServerCallStreamObserver<DrainProgress> observer;
    private final ReentrantLock lock = new ReentrantLock();
    private boolean ended;

    Progress(ServerCallStreamObserver<DrainProgress> observer) {
      this.observer = observer;
    }

    void left(int sessions) {
      // A slow reader misses steps, never the end.
      if (sessions > 0 && observer.isReady()) {
        send(sessions, false);
      }
    }

    void end() {
      send(0, true);
    }

    private void send(int sessions, boolean last) {
      lock.lock();
      try {
        if (ended) {
          return;
        }
        ended = last;
        observer.onNext(DrainProgress.newBuilder().setSessionsLeft(sessions).build());
        if (last) {
          observer.onCompleted();
        }
      } finally {
        lock.unlock();
      }
    }
  }
}
