package dev.baton.router;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.proto.inference.v1.ChatMessage;
import dev.baton.proto.inference.v1.ChatMessages;
import dev.baton.proto.inference.v1.GenerateRequest;
import dev.baton.proto.inference.v1.GenerateResponse;
import dev.baton.proto.inference.v1.InferenceGrpc;
import dev.baton.proto.inference.v1.SamplingParameters;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.reflection.v1.ServerReflectionGrpc;
import io.grpc.reflection.v1.ServerReflectionRequest;
import io.grpc.reflection.v1.ServerReflectionResponse;
import io.grpc.reflection.v1.ServiceResponse;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.Iterator;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What platforms expect of a gRPC server: health, reflection, deadlines, cancellation. */
final class GrpcPlatformTest {

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
  void healthFollowsTheWorkers() {
    Iterator<HealthCheckResponse> watch =
        HealthGrpc.newBlockingStub(router.channel())
            .withDeadlineAfter(60, TimeUnit.SECONDS)
            .watch(HealthCheckRequest.newBuilder().setService(InferenceGrpc.SERVICE_NAME).build());
    ServingStatus first = watch.next().getStatus();
    // The worker may have registered just before the first look.
    assertThat(first == ServingStatus.SERVING ? first : watch.next().getStatus())
        .isEqualTo(ServingStatus.SERVING);
    router.worker.die();
    assertThat(watch.next().getStatus()).isEqualTo(ServingStatus.NOT_SERVING);
    assertThat(
            HealthGrpc.newBlockingStub(router.channel())
                .check(HealthCheckRequest.getDefaultInstance())
                .getStatus())
        .isEqualTo(ServingStatus.NOT_SERVING);
  }

  @Test
  void reflectionListsTheServices() {
    CompletableFuture<ServerReflectionResponse> reply = new CompletableFuture<>();
    var requests =
        ServerReflectionGrpc.newStub(router.channel())
            .serverReflectionInfo(
                new StreamObserver<ServerReflectionResponse>() {
                  @Override
                  public void onNext(ServerReflectionResponse value) {
                    reply.complete(value);
                  }

                  @Override
                  public void onError(Throwable cause) {
                    reply.completeExceptionally(cause);
                  }

                  @Override
                  public void onCompleted() {}
                });
    requests.onNext(ServerReflectionRequest.newBuilder().setListServices("").build());
    assertThat(
            reply.orTimeout(60, TimeUnit.SECONDS).join().getListServicesResponse().getServiceList())
        .extracting(ServiceResponse::getName)
        .contains(InferenceGrpc.SERVICE_NAME, HealthGrpc.SERVICE_NAME);
    requests.onCompleted();
  }

  @Test
  void chatIsRenderedAndItsRolesChecked() {
    var stub = InferenceGrpc.newBlockingStub(router.channel());
    Iterator<GenerateResponse> responses = stub.generate(chat("user"));
    assertThat(responses.next().getPromptTokenIdsList()).containsExactly(91, 104, 105, 93);
    Iterator<GenerateResponse> refused = stub.generate(chat("robot"));
    assertThatThrownBy(refused::hasNext)
        .isInstanceOf(StatusRuntimeException.class)
        .hasMessageContaining("role \"robot\"");
  }

  @Test
  void deadlineOfTheCallFreesTheSession() throws Exception {
    router.worker.pace.drainPermits();
    // On a slow machine the first calls may be over before they have come to the worker.
    for (int millis = 300; router.worker.sessions.isEmpty(); millis *= 2) {
      Iterator<GenerateResponse> responses =
          InferenceGrpc.newBlockingStub(router.channel())
              .withDeadlineAfter(millis, TimeUnit.MILLISECONDS)
              .generate(GenerateRequest.newBuilder().setText("x").build());
      assertThatThrownBy(responses::hasNext)
          .isInstanceOfSatisfying(
              StatusRuntimeException.class,
              e -> assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.DEADLINE_EXCEEDED));
    }
    assertThat(router.worker.cancelled.poll(60, TimeUnit.SECONDS)).isNotNull();
  }

  @Test
  void timeoutOfTheRequestIsAFailureOfOurs() {
    router.worker.pace.drainPermits();
    Iterator<GenerateResponse> responses =
        InferenceGrpc.newBlockingStub(router.channel())
            .generate(GenerateRequest.newBuilder().setText("x").setTimeoutMillis(200).build());
    assertThatThrownBy(responses::hasNext)
        .isInstanceOfSatisfying(
            StatusRuntimeException.class,
            e -> {
              assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.DEADLINE_EXCEEDED);
              assertThat(e.getTrailers()).isNotNull();
            });
  }

  @Test
  void timeoutBeyondAMonthIsRefused() {
    Iterator<GenerateResponse> responses =
        InferenceGrpc.newBlockingStub(router.channel())
            .generate(GenerateRequest.newBuilder().setText("x").setTimeoutMillis(1L << 62).build());
    assertThatThrownBy(responses::hasNext)
        .isInstanceOf(StatusRuntimeException.class)
        .hasMessageContaining("timeout_millis: 4611686018427387904 (expected: 0 to 2678400000)");
  }

  @Test
  void cancelledCallFreesTheSession() throws Exception {
    router.worker.pace.drainPermits();
    router.worker.pace.release(2);
    try (Context.CancellableContext context = Context.current().withCancellation()) {
      context.run(
          () ->
              InferenceGrpc.newBlockingStub(router.channel())
                  .generate(GenerateRequest.newBuilder().setText("x").build())
                  .next());
      context.cancel(null);
    }
    assertThat(router.worker.cancelled.poll(60, TimeUnit.SECONDS)).isNotNull();
  }

  private static GenerateRequest chat(String role) {
    return GenerateRequest.newBuilder()
        .setChat(
            ChatMessages.newBuilder()
                .addMessages(ChatMessage.newBuilder().setRole(role).setContent("hi")))
        .setSampling(SamplingParameters.newBuilder().setMaxTokens(1))
        .build();
  }
}
