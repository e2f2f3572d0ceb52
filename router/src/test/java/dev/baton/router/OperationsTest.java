package dev.baton.router;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.proto.worker.v1.DrainProgress;
import dev.baton.proto.worker.v1.DrainWorkerRequest;
import dev.baton.proto.worker.v1.RouterControlGrpc;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.util.Iterator;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("An order to a worker")
final class OperationsTest {

  private RunningRouter router;

  @BeforeEach
  void start() throws IOException {
    router = new RunningRouter(new FakeTextModel());
  }

  @AfterEach
  void stop() {
    router.close();
  }

  @Test
  void ofWhichNobodyKnowsNamesThoseThatThereAre() {
    assertThatThrownBy(() -> drain("nobody").hasNext())
        .isInstanceOf(StatusRuntimeException.class)
        .hasMessage("NOT_FOUND: worker: nobody (expected: one of b)");
  }

  @Test
  void thatIsLostMeanwhileNamesTheWorkerAndDoesNotPassForARouterThatIsNotThere() throws Exception {
    var progress = drain("b");
    assertThat(router.worker.drains.poll(60, TimeUnit.SECONDS)).isNotNull();
    router.worker.die();
    // The first message says that nobody else decodes.
    assertThatThrownBy(() -> progress.forEachRemaining(message -> {}))
        .isInstanceOfSatisfying(
            StatusRuntimeException.class,
            e -> {
              assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.ABORTED);
              assertThat(e.getStatus().getDescription())
                  .startsWith("worker: b was lost while it carried this out: ");
            });
  }

  private Iterator<DrainProgress> drain(String worker) {
    return RouterControlGrpc.newBlockingStub(router.channel())
        .withDeadlineAfter(60, TimeUnit.SECONDS)
        .drainWorker(DrainWorkerRequest.newBuilder().setWorkerId(worker).build());
  }
}
