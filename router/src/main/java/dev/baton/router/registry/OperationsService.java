package dev.baton.router.registry;

import dev.baton.proto.worker.v1.DrainProgress;
import dev.baton.proto.worker.v1.DrainRequest;
import dev.baton.proto.worker.v1.DrainWorkerRequest;
import dev.baton.proto.worker.v1.RouterControlGrpc;
import dev.baton.proto.worker.v1.SetRoleRequest;
import dev.baton.proto.worker.v1.SetWorkerRoleRequest;
import dev.baton.proto.worker.v1.WorkerControlGrpc;
import dev.baton.proto.worker.v1.WorkerStatus;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.Optional;
import java.util.stream.Collectors;

/** Orders to workers by their names, passed on over the router's own channels to them. */
public final class OperationsService extends RouterControlGrpc.RouterControlImplBase {

  private final WorkerDirectory directory;

  public OperationsService(WorkerDirectory directory) {
    this.directory = directory;
  }

  @Override
  public void drainWorker(DrainWorkerRequest request, StreamObserver<DrainProgress> observer) {
    worker(request.getWorkerId(), observer)
        .ifPresent(
            worker -> {
              tellIfAlone(worker, observer);
              WorkerControlGrpc.newStub(worker.channel())
                  .drain(
                      DrainRequest.newBuilder()
                          .setDeadlineMillis(request.getDeadlineMillis())
                          .build(),
                      new Relay<>(worker.id(), observer));
            });
  }

  private void tellIfAlone(Worker worker, StreamObserver<DrainProgress> observer) {
    boolean others =
        directory.pools(worker.model()).decode().stream().anyMatch(other -> other != worker);
    if (worker.decodes() && !others) {
      observer.onNext(
          DrainProgress.newBuilder()
              .setSessionsLeft((int) worker.sessions())
              .setNote(
                  worker.id() + " is the only decode worker: its sessions end there, new ones wait")
              .build());
    }
  }

  @Override
  public void setWorkerRole(SetWorkerRoleRequest request, StreamObserver<WorkerStatus> observer) {
    worker(request.getWorkerId(), observer)
        .ifPresent(
            worker ->
                WorkerControlGrpc.newStub(worker.channel())
                    .setRole(
                        SetRoleRequest.newBuilder().setRole(request.getRole()).build(),
                        new Relay<>(worker.id(), observer)));
  }

  private Optional<Worker> worker(String id, StreamObserver<?> observer) {
    // With a handler set, an answer to a caller that is gone is dropped instead of throwing.
    ((ServerCallStreamObserver<?>) observer).setOnCancelHandler(() -> {});
    Optional<Worker> worker = directory.worker(id);
    if (worker.isEmpty()) {
      observer.onError(
          Status.NOT_FOUND
              .withDescription(
                  "worker: %s (expected: one of %s)"
                      .formatted(
                          id,
                          directory.workers().stream()
                              .map(Worker::id)
                              .collect(Collectors.joining(", "))))
              .asRuntimeException());
    }
    return worker;
  }

  /** Passes a worker's answers on. */
  private record Relay<E>(String worker, StreamObserver<E> observer) implements StreamObserver<E> {

    @Override
    public void onNext(E answer) {
      observer.onNext(answer);
    }

    @Override
    public void onError(Throwable cause) {
      Status status = Status.fromThrowable(cause);
      // A worker that goes cancels its calls, or its connection breaks. The router's own
      // UNAVAILABLE
      // would say that the router is not to be reached.
      boolean lost =
          status.getCode() == Status.Code.UNAVAILABLE || status.getCode() == Status.Code.CANCELLED;
      observer.onError(
          Status.fromCode(lost ? Status.Code.ABORTED : status.getCode())
              .withDescription(
                  lost
                      ? "worker: %s was lost while it carried this out: %s"
                          .formatted(worker, status.getDescription())
                      : status.getDescription())
              .asRuntimeException());
    }

    @Override
    public void onCompleted() {
      observer.onCompleted();
    }
  }
}
