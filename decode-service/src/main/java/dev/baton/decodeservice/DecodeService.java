package dev.baton.decodeservice;

import dev.baton.kvtransfer.KvTransfer;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.DecodeWorkerGrpc;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.Attempt;
import dev.baton.worker.session.Session;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import io.grpc.BindableService;
import io.grpc.stub.StreamObserver;

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
            session -> attempt(session, request.getAwaitHandoff()));
  }

  private Attempt attempt(Session<DecodeEvent> session, boolean awaitHandoff) {
    if (!awaitHandoff) {
      return new LocalAttempt(worker.engine(), session);
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
    return new HandoffAttempt(worker, transfer, session);
  }

  private static DecodeEvent event(Failure failure) {
    return DecodeEvent.newBuilder().setFailure(failure).build();
  }
}
