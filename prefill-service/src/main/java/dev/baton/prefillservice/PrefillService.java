package dev.baton.prefillservice;

import dev.baton.engine.ModelInfo;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Ticket;
import dev.baton.peer.FingerprintParts;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.PrefillRequest;
import dev.baton.proto.worker.v1.PrefillWorkerGrpc;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.Session;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import dev.baton.worker.wire.Tickets;
import io.grpc.BindableService;
import io.grpc.stub.StreamObserver;

/** Takes the calls of the prefill role in. Any thread. */
public final class PrefillService extends PrefillWorkerGrpc.PrefillWorkerImplBase {

  private final WorkerContext worker;

  private PrefillService(WorkerContext worker) {
    this.worker = worker;
  }

  /** The service on a worker, for the worker's life. */
  public static BindableService create(WorkerContext worker) {
    return new PrefillService(worker);
  }

  @Override
  public void prefill(PrefillRequest request, StreamObserver<PrefillEvent> observer) {
    worker
        .sessions()
        .open(
            request.getSession(),
            observer,
            PrefillService::event,
            session -> attempt(session, request.getTicket()));
  }

  private PrefillAttempt attempt(Session<PrefillEvent> session, HandoffTicket wire) {
    KvTransfer transfer =
        worker
            .transfer()
            .orElseThrow(
                () ->
                    new RefusedException(
                        Failures.invalid(
                            "", "ticket: given (expected: none, this worker hands nothing off)")));
    requireSameModel(wire.getFingerprint(), worker.model());
    Ticket ticket = Tickets.read(wire, session.generation().contextTokens());
    return new PrefillAttempt(
        worker, transfer, session, ticket, Tickets.kvDtype(wire, worker.model().kvDtype()));
  }

  /** Different weights or numerics would continue the text wrongly, however well it was carried. */
  private static void requireSameModel(String importer, ModelInfo model) {
    if (!importer.equals(model.fingerprint())) {
      throw new RefusedException(
          Failures.of(
              ErrorCode.FINGERPRINT_MISMATCH,
              FingerprintParts.mismatch(
                  "ticket.fingerprint", importer, model.fingerprint(), "this prefill worker's")));
    }
  }

  private static PrefillEvent event(Failure failure) {
    return PrefillEvent.newBuilder().setFailure(failure).build();
  }
}
