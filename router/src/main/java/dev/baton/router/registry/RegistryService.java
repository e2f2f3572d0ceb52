package dev.baton.router.registry;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.Accepted;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.RegistryReply;
import dev.baton.proto.worker.v1.WorkerRegistryGrpc;
import dev.baton.proto.worker.v1.WorkerReport;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.router.failure.FailureException;
import dev.baton.router.failure.Failures;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The registry as workers reach it: a Registration, then statuses, on one stream that lives as long
 * as the worker.
 */
public final class RegistryService extends WorkerRegistryGrpc.WorkerRegistryImplBase {

  private static final Logger LOG = LoggerFactory.getLogger(RegistryService.class);

  private final WorkerDirectory directory;

  public RegistryService(WorkerDirectory directory) {
    this.directory = directory;
  }

  @Override
  public StreamObserver<WorkerReport> register(StreamObserver<RegistryReply> replies) {
    // With a handler set, a reply to a worker that is gone is dropped instead of throwing.
    ((ServerCallStreamObserver<RegistryReply>) replies).setOnCancelHandler(() -> {});
    return new Reports(replies);
  }

  /** One worker's stream; gRPC calls it from one thread at a time. */
  private final class Reports implements StreamObserver<WorkerReport> {

    private final StreamObserver<RegistryReply> replies;
    private @Nullable Worker worker;
    private boolean ended;

    Reports(StreamObserver<RegistryReply> replies) {
      this.replies = replies;
    }

    @Override
    public void onNext(WorkerReport report) {
      if (ended) {
        return;
      }
      Worker known = worker;
      if (known == null && report.hasRegistration()) {
        accept(report.getRegistration());
      } else if (known != null && report.hasStatus()) {
        take(known, report.getStatus());
      } else {
        refuse(
            Failures.of(
                ErrorCode.INVALID_REQUEST,
                "report: "
                    + report.getReportCase()
                    + " (expected: one REGISTRATION first, then STATUS)",
                "report"));
      }
    }

    private void accept(Registration registration) {
      try {
        worker = directory.register(registration);
      } catch (FailureException e) {
        refuse(e.failure());
        return;
      }
      replies.onNext(
          RegistryReply.newBuilder()
              .setAccepted(
                  Accepted.newBuilder()
                      .setStatusIntervalMillis((int) WorkerDirectory.STATUS_INTERVAL.toMillis()))
              .build());
    }

    private void take(Worker known, WorkerStatus status) {
      if (!directory.report(known, status)) {
        ended = true;
        replies.onError(
            Status.UNAVAILABLE
                .withDescription("worker " + known.id() + ": forgotten; register again")
                .asRuntimeException());
      }
    }

    @Override
    public void onError(Throwable cause) {
      leave();
    }

    @Override
    public void onCompleted() {
      leave();
      if (!ended) {
        ended = true;
        replies.onCompleted();
      }
    }

    private void refuse(Failure failure) {
      LOG.warn("refused a worker: {}", failure.getMessage());
      ended = true;
      leave();
      replies.onNext(RegistryReply.newBuilder().setRefused(failure).build());
      replies.onCompleted();
    }

    private void leave() {
      if (worker != null) {
        directory.leave(worker);
      }
    }
  }
}
