package dev.baton.router.session;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.router.failure.Failures;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.io.IOException;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * One server-streaming call to a worker, its events passed on as they come. At most {@code
 * prefetch} messages come before more are asked for.
 */
final class WorkerCall<Q, E> implements ClientResponseObserver<Q, E> {

  private final String worker;
  private final int prefetch;
  private final Consumer<ClientCallStreamObserver<?>> onStart;
  private final Consumer<E> onEvent;
  private final Consumer<@Nullable Failure> onEnd;

  /**
   * @param onStart gets the call, on the calling thread, before anything is sent
   * @param onEnd gets null when the worker ended the call in order
   */
  WorkerCall(
      String worker,
      int prefetch,
      Consumer<ClientCallStreamObserver<?>> onStart,
      Consumer<E> onEvent,
      Consumer<@Nullable Failure> onEnd) {
    this.worker = worker;
    this.prefetch = prefetch;
    this.onStart = onStart;
    this.onEvent = onEvent;
    this.onEnd = onEnd;
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<Q> call) {
    call.disableAutoRequestWithInitial(prefetch);
    onStart.accept(call);
  }

  @Override
  public void onNext(E event) {
    onEvent.accept(event);
  }

  @Override
  public void onError(Throwable cause) {
    onEnd.accept(failure(Status.fromThrowable(cause)));
  }

  @Override
  public void onCompleted() {
    onEnd.accept(null);
  }

  /** What the end of the call by a status means for the session. */
  private Failure failure(Status status) {
    ErrorCode code =
        switch (status.getCode()) {
          // A worker that goes down cancels what it still serves.
          case UNAVAILABLE, CANCELLED -> ErrorCode.WORKER_LOST;
          // How gRPC reports a connection that breaks after its channel was told to shut down. A
          // cause comes from this side, never over the wire.
          case UNKNOWN ->
              status.getCause() instanceof IOException ? ErrorCode.WORKER_LOST : ErrorCode.INTERNAL;
          case RESOURCE_EXHAUSTED -> ErrorCode.OVERLOADED;
          case DEADLINE_EXCEEDED -> ErrorCode.DEADLINE_EXCEEDED;
          case INVALID_ARGUMENT -> ErrorCode.INVALID_REQUEST;
          default -> ErrorCode.INTERNAL;
        };
    String what = status.getDescription() == null ? "" : ": " + status.getDescription();
    return Failures.of(
        code,
        code == ErrorCode.WORKER_LOST
            ? "worker " + worker + ": lost (" + status.getCode() + what + ")"
            : "worker " + worker + ": " + status.getCode() + what);
  }
}
