package dev.baton.peer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.proto.worker.v1.GetStatusRequest;
import dev.baton.proto.worker.v1.WorkerControlGrpc;
import dev.baton.proto.worker.v1.WorkerStatus;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class PeerAuthenticationTest {

  private static final PeerAuthentication OURS =
      new PeerAuthentication(ClusterSecret.of("the secret of this cluster"));
  private static final PeerAuthentication OTHERS =
      new PeerAuthentication(ClusterSecret.of("the secret of another one"));

  private final AtomicInteger served = new AtomicInteger();
  private Server server;
  private ManagedChannel channel;

  @BeforeEach
  void serve() throws Exception {
    WorkerControlGrpc.WorkerControlImplBase service =
        new WorkerControlGrpc.WorkerControlImplBase() {
          @Override
          public void getStatus(GetStatusRequest request, StreamObserver<WorkerStatus> answer) {
            served.incrementAndGet();
            answer.onNext(WorkerStatus.getDefaultInstance());
            answer.onCompleted();
          }
        };
    server =
        InProcessServerBuilder.forName("peers")
            .intercept(OURS.server())
            .addService(service)
            .directExecutor()
            .build()
            .start();
    channel = InProcessChannelBuilder.forName("peers").directExecutor().build();
  }

  @AfterEach
  void stop() {
    channel.shutdownNow();
    server.shutdownNow();
  }

  private static void call(Channel on) {
    var unused =
        WorkerControlGrpc.newBlockingStub(on).getStatus(GetStatusRequest.getDefaultInstance());
  }

  @Test
  void aPeerOfTheClusterIsServed() {
    call(ClientInterceptors.intercept(channel, OURS.client()));
    assertThat(served).hasValue(1);
  }

  @Test
  void othersAreRefusedBeforeTheServiceHearsOfThem() {
    assertThatThrownBy(() -> call(channel))
        .isInstanceOfSatisfying(
            StatusRuntimeException.class, e -> assertRefused(e.getStatus(), "none"));
    assertThatThrownBy(() -> call(ClientInterceptors.intercept(channel, OTHERS.client())))
        .isInstanceOfSatisfying(
            StatusRuntimeException.class, e -> assertRefused(e.getStatus(), "another"));
    assertThat(served).hasValue(0);
  }

  private static void assertRefused(Status status, String which) {
    assertThat(status.getCode()).isEqualTo(Status.Code.UNAUTHENTICATED);
    assertThat(status.getDescription()).startsWith("cluster secret: " + which);
  }
}
