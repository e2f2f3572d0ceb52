package dev.baton.decodeservice;

import dev.baton.kvtransfer.KvTransfer;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.DecodeWorkerGrpc;
import dev.baton.proto.worker.v1.HandOverReply;
import dev.baton.proto.worker.v1.HandOverRequest;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.Attempt;
import dev.baton.worker.session.Session;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import io.grpc.BindableService;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.Optional;
import java.util.function.Consumer;

/** Takes the calls of the decode role in. Any thread. */
public final class DecodeService extends DecodeWorkerGrpc.DecodeWorkerImplBase {

  private final WorkerContext worker;

  private DecodeService(WorkerContext worker) {
    this.worker = worker;
  }

  /** The service on a worker, for the worker's life. */
  public static BindableService create(WorkerContext worker) {
    return new DecodeService(worker);
  }

  @Override
  public void decode(DecodeRequest request, StreamObserver<DecodeEvent> observer) {
    worker
        .sessions()
        .open(
            request.getSession(),
            observer,
            DecodeService::event,
            session -> attempt(session, request));
  }

  @Override
  public void handOver(HandOverRequest request, StreamObserver<HandOverReply> observer) {
    withoutThrow(observer);
    worker
        .sessions()
        .visit(
            request.getSessionId(),
            request.getEpoch(),
            attempt -> {
              Consumer<HandOverReply> reply =
                  answer -> {
                    observer.onNext(answer);
                    observer.onCompleted();
                  };
              try {
                decoding(attempt).handOver(request, reply);
              } catch (RuntimeException e) {
                reply.accept(HandOverReply.newBuilder().setFailure(Failures.of(e)).build());
              }
            });
  }

  private static DecodeAttempt decoding(Optional<Attempt> attempt) {
    if (attempt.isPresent() && attempt.get() instanceof DecodeAttempt decoding) {
      return decoding;
    }
    throw new RefusedException(
        Failures.of(
            ErrorCode.HANDOFF_FAILED,
            "session: not here under that epoch (expected: one that decodes)"));
  }

  /** With a handler set, an answer to a caller that is gone is dropped instead of throwing. */
  private static void withoutThrow(StreamObserver<?> observer) {
    ((ServerCallStreamObserver<?>) observer).setOnCancelHandler(() -> {});
  }

  private Attempt attempt(Session<DecodeEvent> session, DecodeRequest request) {
    if (!request.getAwaitHandoff()) {
      return DecodeAttempt.computing(worker, session);
    }
    if (request.getRoomTokens() < 0) {
      throw new RefusedException(
          Failures.invalid(
              "", "room_tokens: %d (expected: >= 0)".formatted(request.getRoomTokens())));
    }
    KvTransfer transfer =
        worker
            .transfer()
            .orElseThrow(
                () ->
                    new RefusedException(
                        Failures.invalid(
                            "",
                            "await_handoff: true (expected: false on a worker without hand-off)")));
    return DecodeAttempt.importing(worker, transfer, session, request.getRoomTokens());
  }

  private static DecodeEvent event(Failure failure) {
    return DecodeEvent.newBuilder().setFailure(failure).build();
  }
}
