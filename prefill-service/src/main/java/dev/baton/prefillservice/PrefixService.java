package dev.baton.prefillservice;

import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Ticket;
import dev.baton.peer.FingerprintParts;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.ExportPrefixEvent;
import dev.baton.proto.worker.v1.ExportPrefixRequest;
import dev.baton.proto.worker.v1.FetchPrefixEvent;
import dev.baton.proto.worker.v1.FetchPrefixRequest;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.proto.worker.v1.PrefixWorkerGrpc;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.Session;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import dev.baton.worker.wire.Tickets;
import io.grpc.BindableService;
import io.grpc.stub.StreamObserver;

/** Takes the calls in by which cached prefixes move between workers. Any thread. */
public final class PrefixService extends PrefixWorkerGrpc.PrefixWorkerImplBase {

  private final WorkerContext worker;

  private PrefixService(WorkerContext worker) {
    this.worker = worker;
  }

  /** The service on a worker, for the worker's life. */
  public static BindableService create(WorkerContext worker) {
    return new PrefixService(worker);
  }

  @Override
  public void fetchPrefix(FetchPrefixRequest request, StreamObserver<FetchPrefixEvent> observer) {
    worker
        .sessions()
        .open(
            request.getSession(),
            observer,
            PrefixService::fetchFailed,
            session -> new PrefixFetch(worker, transfer(), session));
  }

  @Override
  public void exportPrefix(
      ExportPrefixRequest request, StreamObserver<ExportPrefixEvent> observer) {
    worker
        .sessions()
        .open(
            request.getSession(),
            observer,
            PrefixService::exportFailed,
            session -> export(session, request.getTicket()));
  }

  private PrefixExport export(Session<ExportPrefixEvent> session, HandoffTicket wire) {
    KvTransfer transfer = transfer();
    String fingerprint = worker.model().fingerprint();
    if (!wire.getFingerprint().equals(fingerprint)) {
      throw new RefusedException(
          Failures.of(
              ErrorCode.FINGERPRINT_MISMATCH,
              FingerprintParts.mismatch(
                  "ticket.fingerprint", wire.getFingerprint(), fingerprint, "this worker's")));
    }
    Ticket ticket = Tickets.read(wire, session.generation().contextTokens());
    return new PrefixExport(
        worker, transfer, session, ticket, Tickets.kvDtype(wire, worker.model().kvDtype()));
  }

  private KvTransfer transfer() {
    return worker
        .transfer()
        .orElseThrow(
            () ->
                new RefusedException(
                    Failures.invalid("", "prefix: asked (expected: of a worker with hand-off)")));
  }

  private static FetchPrefixEvent fetchFailed(Failure failure) {
    return FetchPrefixEvent.newBuilder().setFailure(failure).build();
  }

  private static ExportPrefixEvent exportFailed(Failure failure) {
    return ExportPrefixEvent.newBuilder().setFailure(failure).build();
  }
}
