package dev.baton.router.session;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import io.grpc.Status;
import java.nio.channels.ClosedChannelException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

final class WorkerCallTest {

  private final List<Failure> ends = new ArrayList<>();
  private final WorkerCall<DecodeRequest, DecodeEvent> call =
      new WorkerCall<>("d", 1, _ -> {}, _ -> {}, ends::add);

  @Test
  void connectionsThatBreakAreALostWorkerInWhateverWayGrpcSaysIt() {
    end(Status.UNAVAILABLE);
    end(Status.CANCELLED);
    end(Status.UNKNOWN.withDescription("channel closed").withCause(new ClosedChannelException()));
    assertThat(ends).extracting(Failure::getCode).containsOnly(ErrorCode.WORKER_LOST);
  }

  @Test
  void faultOfAWorkerIsNotALoss() {
    end(Status.UNKNOWN);
    end(Status.INTERNAL);
    end(Status.UNKNOWN.withCause(new IllegalStateException()));
    assertThat(ends).extracting(Failure::getCode).containsOnly(ErrorCode.INTERNAL);
  }

  private void end(Status status) {
    call.onError(status.asRuntimeException());
  }
}
