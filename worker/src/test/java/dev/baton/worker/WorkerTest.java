package dev.baton.worker;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.engine.EngineException;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Generation;
import dev.baton.engine.SampledToken;
import dev.baton.engine.Sampling;
import dev.baton.engine.SessionId;
import dev.baton.engine.SessionListener;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.worker.v1.DrainProgress;
import dev.baton.proto.worker.v1.DrainRequest;
import dev.baton.proto.worker.v1.GetStatusRequest;
import dev.baton.proto.worker.v1.Leak;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.WorkerControlGrpc;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.worker.fakes.Events;
import dev.baton.worker.fakes.Eventually;
import dev.baton.worker.fakes.FakeEngine;
import dev.baton.worker.fakes.FakeRouter;
import dev.baton.worker.fakes.FakeTransfer;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.HostPort;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(300)
class WorkerTest {

  private final FakeEngine engine = new FakeEngine();
  private final FakeRouter router;

  WorkerTest() throws IOException {
    router = FakeRouter.accepting(0);
  }

  @AfterEach
  void stopRouter() throws InterruptedException {
    router.close();
  }

  private WorkerOptions options(HostPort at) {
    return WorkerOptions.of(Role.BOTH, at, EngineOptions.of(Path.of("models/fake")));
  }

  private Worker start(WorkerOptions options) throws IOException {
    return Worker.start(options, engine, Optional.empty(), List.of());
  }

  private static ManagedChannel channel(Worker worker) {
    HostPort address = HostPort.parse(worker.grpcAddress());
    return NettyChannelBuilder.forAddress(address.host(), address.port()).usePlaintext().build();
  }

  @Test
  void anIdleWorkerShowsNowAndThenThatItsStepThreadAnswers() throws Exception {
    try (Worker worker = start(options(router.address()))) {
      Eventually.holds("a beat without a session", () -> worker.status().getBeats() > 0);
    }
  }

  @Test
  void registersWhatItIs() throws Exception {
    try (Worker worker = start(options(router.address()).withVersion("1.2"))) {
      Registration registration = router.awaitRegistration();
      assertThat(registration.getWorkerId()).isEqualTo(worker.id()).startsWith("both-");
      assertThat(registration.getRole()).isEqualTo(Role.BOTH);
      assertThat(registration.getGrpcAddress()).isEqualTo(worker.grpcAddress());
      assertThat(registration.getModel().getFingerprint()).isEqualTo("f00d");
      assertThat(registration.getModel().getDtype()).isEqualTo("float32");
      assertThat(registration.getBlockCapacity()).isEqualTo(256);
      assertThat(registration.getVersion()).isEqualTo("1.2");
      assertThat(registration.getModelDirectory()).startsWith("/").endsWith("models/fake");
      assertThat(router.awaitStatus().getLedger().getFree()).isEqualTo(256);
    }
  }

  @Test
  void answersWithItsStatus() throws Exception {
    try (Worker worker = start(options(router.address()))) {
      ManagedChannel channel = channel(worker);
      WorkerStatus status =
          WorkerControlGrpc.newBlockingStub(channel)
              .getStatus(GetStatusRequest.getDefaultInstance());
      assertThat(status.getLedger().getFree()).isEqualTo(256);
      assertThat(status.getDraining()).isFalse();
      channel.shutdownNow();
    }
  }

  @Test
  void anIdleWorkerIsDrainedAtOnceAndTellsTheRouter() throws Exception {
    try (Worker worker = start(options(router.address()))) {
      ManagedChannel channel = channel(worker);
      Events<DrainRequest, DrainProgress> events = new Events<>();
      WorkerControlGrpc.newStub(channel).drain(DrainRequest.getDefaultInstance(), events);
      assertThat(events.await().getLast().getSessionsLeft()).isZero();
      while (!router.awaitStatus().getDraining()) {
        // Statuses from before.
      }
      channel.shutdownNow();
    }
  }

  @Test
  void theRegistrysStreamEndsInOrderWhenTheWorkerCloses() throws Exception {
    Worker worker = start(options(router.address()));
    router.awaitStatus();
    worker.close();
    router.ended.get(60, TimeUnit.SECONDS);
    assertThat(engine.closed()).isTrue();
    worker.close();
  }

  @Test
  void aFailedStepIsFatalAndSeenByTheRouterAsDraining() throws Exception {
    try (Worker worker = start(options(router.address()))) {
      router.awaitStatus();
      engine.failNextStep();
      // Any command wakes the loop; a drain posts one.
      ManagedChannel channel = channel(worker);
      WorkerControlGrpc.newStub(channel).drain(DrainRequest.getDefaultInstance(), new Events<>());
      String reason = worker.fatal().toCompletableFuture().get(60, TimeUnit.SECONDS);
      assertThat(reason).contains("step failed").contains("device: gone");
      while (!router.awaitStatus().getDraining()) {
        // Statuses from before.
      }
      channel.shutdownNow();
    }
  }

  @Test
  void aRefusalOfTheRouterIsFatal() throws Exception {
    try (FakeRouter strict =
            FakeRouter.refusing(Failures.of(ErrorCode.INVALID_REQUEST, "model: other"));
        Worker worker = start(options(strict.address()))) {
      assertThat(worker.fatal().toCompletableFuture().get(60, TimeUnit.SECONDS))
          .contains("router refuses worker")
          .contains("model: other");
    }
  }

  @Test
  void aTakenPortIsNamedAndNothingStaysOpen() throws Exception {
    try (ServerSocket taken = new ServerSocket(0, 1, java.net.InetAddress.getLoopbackAddress())) {
      WorkerOptions options = options(router.address()).withGrpcPort(taken.getLocalPort());
      assertThatThrownBy(() -> start(options))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("grpcPort: 127.0.0.1:" + taken.getLocalPort());
      assertThat(engine.closed()).isTrue();
    }
  }

  @Test
  void metricsShowTheLedgerAndTheHandoffs() throws Exception {
    int port = freePort();
    try (FakeTransfer.Network network = new FakeTransfer.Network();
        Worker worker =
            Worker.start(
                options(router.address()).withMetricsPort(port),
                engine,
                Optional.of(new FakeTransfer(network)),
                List.of());
        HttpClient client = HttpClient.newHttpClient()) {
      assertThat(metrics(client, port))
          .contains("baton_blocks{state=\"free\"} 256.0")
          .contains("baton_blocks{state=\"owned\"} 0.0")
          .contains("baton_blocks_capacity 256.0")
          .contains("baton_slabs{pool=\"sending\",state=\"free\"} 8.0")
          .contains("baton_slabs{pool=\"landing\",state=\"quarantined\"} 0.0")
          .contains("baton_slabs_capacity{pool=\"landing\"} 8.0")
          .contains("baton_leaks_total 0.0")
          .contains("baton_sessions 0.0")
          .contains("baton_steps_total 0.0")
          .contains("baton_handoff_bytes_total{direction=\"export\"} 0.0")
          .contains("baton_handoff_seconds_total 0.0");
      assertThat(worker.sessions()).isZero();
    }
  }

  @Test
  void blocksThatNoCallHasAreNamedInTheStatusAndInTheMetrics() throws Exception {
    int port = freePort();
    try (Worker worker = start(options(router.address()).withMetricsPort(port));
        HttpClient client = HttpClient.newHttpClient()) {
      // As if an attempt had left without releasing what it had reserved.
      engine.reserve(
          new Generation(
              new SessionId("lost", 3), new int[] {1, 2}, new int[0], Sampling.greedy(4), "", 0),
          new IgnoringListener());

      Eventually.holds("a leak", () -> worker.status().getLeaksCount() > 0);

      Leak leak = worker.status().getLeaks(0);
      assertThat(leak.getSessionId()).isEqualTo("lost");
      assertThat(leak.getEpoch()).isEqualTo(3);
      assertThat(leak.getWhat()).isEqualTo("blocks");
      assertThat(leak.getReason()).isEqualTo("HANDOFF");
      assertThat(leak.getAgeMillis()).isPositive();
      assertThat(worker.status().getLeaksFound()).isEqualTo(1);
      assertThat(metrics(client, port))
          .contains("baton_leaks_total 1.0")
          .contains("baton_leaked{what=\"blocks\"} 1.0")
          .contains("baton_leaked{what=\"sending slabs\"} 0.0");
    }
  }

  private static int freePort() throws IOException {
    try (ServerSocket free = new ServerSocket(0)) {
      return free.getLocalPort();
    }
  }

  private static String metrics(HttpClient client, int port)
      throws IOException, InterruptedException {
    HttpResponse<String> response =
        client.send(
            HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/metrics")).build(),
            HttpResponse.BodyHandlers.ofString());
    assertThat(response.statusCode()).isEqualTo(200);
    return response.body();
  }

  /** Of a session that nobody has. */
  private static final class IgnoringListener implements SessionListener {

    @Override
    public void onToken(SampledToken token) {
      throw new AssertionError(token);
    }

    @Override
    public void onFailed(EngineException cause) {
      // At the close of the engine.
    }
  }

  @Test
  void aRoleThatHandsOffNeedsATransfer() {
    WorkerOptions both = options(router.address());
    assertThatThrownBy(
            () ->
                new WorkerOptions(
                    Role.DECODE,
                    both.host(),
                    0,
                    both.router(),
                    both.engine(),
                    Optional.empty(),
                    0,
                    1,
                    both.drainGrace(),
                    "",
                    Optional.empty(),
                    Optional.empty()))
        .hasMessageContaining("transfer: none");
  }
}
