package dev.baton.cli;

import dev.baton.cli.supervisor.HttpProbe;
import dev.baton.proto.worker.v1.DrainWorkerRequest;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.RouterControlGrpc;
import dev.baton.router.RouterOptions;
import dev.baton.router.RouterServer;
import dev.baton.worker.Worker;
import dev.baton.worker.wire.HostPort;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Router and workers in one process, one request by each front, a session that moves to another
 * worker, and hand-offs of many slabs: what the first of each would pay for is in the cache then.
 */
final class TrainingRun {

  private static final String HOST = "127.0.0.1";

  /** More tokens than the sessions before together. */
  private static final int MOVE_AFTER = 80;

  private static final long POLL_NANOS = 10_000_000;
  private static final long LONGEST_NANOS = 60_000_000_000L;

  private TrainingRun() {}

  static void run(Path model, boolean aggregated) throws IOException, InterruptedException {
    RouterOptions options =
        RouterOptions.defaults().withHost(HOST).withPorts(0, 0).withVersion(ProgramVersion.text());
    List<Worker> workers = new ArrayList<>();
    try (RouterServer router = RouterProcess.start(options)) {
      List<Role> roles =
          aggregated ? List.of(Role.BOTH) : List.of(Role.PREFILL, Role.DECODE, Role.DECODE);
      for (Role role : roles) {
        workers.add(startWorker(role, model, router.grpcPort()));
      }
      awaitReady(router.port());
      post(router.port(), "/v1/completions", "{\"prompt\": \"Once\", \"max_tokens\": 16}");
      post(
          router.port(),
          "/v1/completions",
          "{\"prompt\": \"Once\", \"max_tokens\": 16, \"stream\": true, \"temperature\": 0}");
      generate(router.grpcPort());
      if (!aggregated) {
        move(router, workers.subList(1, workers.size()));
        TrainingHandoffs.run(HOST);
      }
    } finally {
      workers.forEach(Worker::close);
    }
  }

  /** Drains the worker that has a long session, which goes on at the other one. */
  private static void move(RouterServer router, List<Worker> decode) throws InterruptedException {
    AtomicReference<@Nullable Exception> failure = new AtomicReference<>();
    Thread client =
        Thread.startVirtualThread(
            () -> {
              try {
                post(
                    router.port(),
                    "/v1/completions",
                    "{\"prompt\": \"Once\", \"max_tokens\": 450, \"ignore_eos\": true}");
              } catch (IOException | InterruptedException | CommandFailure e) {
                failure.set(e);
              }
            });
    Worker busy = null;
    while (busy == null && client.isAlive()) {
      LockSupport.parkNanos(POLL_NANOS / 10);
      busy = decode.stream().filter(TrainingRun::decodesLong).findAny().orElse(null);
    }
    if (busy != null) {
      drain(router.grpcPort(), busy.id());
    }
    client.join();
    Exception cause = failure.get();
    if (cause != null) {
      throw CommandFailure.failed("train: a session that moved failed: " + cause.getMessage());
    }
  }

  /** It is past its first tokens, and all that comes before them. */
  private static boolean decodesLong(Worker worker) {
    return worker.sessions() > 0 && worker.status().getGeneratedTokensTotal() > MOVE_AFTER;
  }

  private static void drain(int port, String worker) {
    ManagedChannel channel =
        Grpc.newChannelBuilder(
                new HostPort(HOST, port).toString(), InsecureChannelCredentials.create())
            .build();
    try {
      RouterControlGrpc.newBlockingStub(channel)
          .drainWorker(DrainWorkerRequest.newBuilder().setWorkerId(worker).build())
          .forEachRemaining(_ -> {});
    } finally {
      channel.shutdownNow();
    }
  }

  private static Worker startWorker(Role role, Path model, int routerPort) {
    WorkerFlags flags = new WorkerFlags();
    flags.model = model;
    flags.router = new HostPort(HOST, routerPort);
    EngineFlags engine = new EngineFlags();
    engine.kvCache = new ByteSize(16 << 20);
    return WorkerProcess.start(WorkerProcess.options(role, flags, engine));
  }

  private static void awaitReady(int port) throws InterruptedException {
    HttpProbe probe = new HttpProbe(new InetSocketAddress(HOST, port), "/health/ready");
    long deadline = System.nanoTime() + LONGEST_NANOS;
    while (probe.get().isEmpty()) {
      if (System.nanoTime() - deadline > 0) {
        throw CommandFailure.failed("train: not ready after a minute");
      }
      LockSupport.parkNanos(POLL_NANOS);
    }
  }

  private static void post(int port, String path, String body)
      throws IOException, InterruptedException {
    try (HttpClient client = HttpClient.newHttpClient()) {
      HttpResponse<String> response =
          client.send(
              HttpRequest.newBuilder(URI.create("http://" + new HostPort(HOST, port) + path))
                  .header("content-type", "application/json")
                  .POST(HttpRequest.BodyPublishers.ofString(body))
                  .build(),
              HttpResponse.BodyHandlers.ofString());
      if (response.statusCode() != 200) {
        throw CommandFailure.failed("train: %s answered %s".formatted(path, response.body()));
      }
    }
  }

  private static void generate(int port) {
    GenerateCommand command = new GenerateCommand();
    command.server = new HostPort(HOST, port);
    command.sampling.maxTokens = 16;
    GenerateClient.run(command, new PrintStream(OutputStream.nullOutputStream(), false));
  }
}
