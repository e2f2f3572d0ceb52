package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.proto.worker.v1.DrainRequest;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.RegistryReply;
import dev.baton.proto.worker.v1.WorkerControlGrpc;
import dev.baton.proto.worker.v1.WorkerRegistryGrpc;
import dev.baton.proto.worker.v1.WorkerReport;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.StreamObserver;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@DisplayName("Processes that are not of the cluster")
class StrangerTest {

  private static final Pattern WORKER_ADDRESS = Pattern.compile("gRPC 127\\.0\\.0\\.1:(\\d+)");

  @TempDir private static Path directory;
  private static BatonSystem system;

  @BeforeAll
  static void start() throws Exception {
    Path secret = directory.resolve("secret");
    Files.writeString(secret, "the secret of the test's cluster\n");
    system = BatonSystem.up("--cluster-secret-file", secret.toString());
  }

  @AfterAll
  static void stop() {
    system.close();
  }

  private static ManagedChannel channel(int port) {
    return NettyChannelBuilder.forAddress("127.0.0.1", port).usePlaintext().build();
  }

  @Test
  void aWorkerOfAnotherClusterIsRefusedAndSaysWhy() throws Exception {
    Path other = directory.resolve("other");
    Files.writeString(other, "the secret of some other cluster\n");
    BatonProcess worker =
        BatonProcess.start(
            List.of(
                "decode",
                "--router",
                "127.0.0.1:" + system.grpcPort(),
                "--kv-cache",
                "16M",
                "--cluster-secret-file",
                other.toString()));
    try {
      assertThat(worker.await()).isEqualTo(1);
      assertThat(worker.errors())
          .contains("cluster secret: another (expected: that of this cluster)")
          .contains("--cluster-secret-file")
          .doesNotContain("some other cluster");
    } finally {
      worker.kill();
    }
  }

  @Test
  void nobodyRegistersWithoutTheSecret() throws Exception {
    ManagedChannel channel = channel(system.grpcPort());
    try {
      CompletableFuture<Status> end = new CompletableFuture<>();
      StreamObserver<WorkerReport> reports =
          WorkerRegistryGrpc.newStub(channel)
              .register(
                  new StreamObserver<RegistryReply>() {
                    @Override
                    public void onNext(RegistryReply reply) {
                      end.completeExceptionally(new AssertionError(reply));
                    }

                    @Override
                    public void onError(Throwable cause) {
                      end.complete(Status.fromThrowable(cause));
                    }

                    @Override
                    public void onCompleted() {
                      end.complete(Status.OK);
                    }
                  });
      reports.onNext(
          WorkerReport.newBuilder()
              .setRegistration(Registration.newBuilder().setWorkerId("stranger"))
              .build());
      assertThat(end.get(Deadline.AMPLE.toSeconds(), TimeUnit.SECONDS).getCode())
          .isEqualTo(Status.Code.UNAUTHENTICATED);
    } finally {
      channel.shutdownNow();
    }
  }

  @Test
  void nobodyCommandsAWorkerWithoutTheSecret() {
    Matcher address = WORKER_ADDRESS.matcher(system.log("decode-0"));
    assertThat(address.find()).as(system.log("decode-0")).isTrue();
    ManagedChannel channel = channel(Integer.parseInt(address.group(1)));
    try {
      assertThatThrownBy(
              () ->
                  WorkerControlGrpc.newBlockingStub(channel)
                      .drain(DrainRequest.getDefaultInstance())
                      .forEachRemaining(progress -> {}))
          .isInstanceOfSatisfying(
              StatusRuntimeException.class,
              e -> assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.UNAUTHENTICATED));
    } finally {
      channel.shutdownNow();
    }
  }

  @Test
  void noLogShowsTheSecret() {
    for (String process : List.of("router", "prefill-0", "decode-0")) {
      assertThat(system.log(process)).doesNotContain("the secret of the test");
    }
  }
}
