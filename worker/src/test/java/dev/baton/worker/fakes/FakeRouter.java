package dev.baton.worker.fakes;

import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.Accepted;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.RegistryReply;
import dev.baton.proto.worker.v1.WorkerRegistryGrpc;
import dev.baton.proto.worker.v1.WorkerReport;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.worker.wire.HostPort;
import io.grpc.Server;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/** The router's side of registration, on a real port. */
public final class FakeRouter implements AutoCloseable {

  public final BlockingQueue<Registration> registrations = new LinkedBlockingQueue<>();
  public final BlockingQueue<WorkerStatus> statuses = new LinkedBlockingQueue<>();

  /** Completes when a worker has ended its stream in order. */
  public final CompletableFuture<Void> ended = new CompletableFuture<>();

  private final Server server;

  private FakeRouter(int port, RegistryReply answer) throws IOException {
    server = start(port, new Registry(answer));
  }

  /** A port that another server has just left may be taken for a moment still. */
  private static Server start(int port, Registry registry) throws IOException {
    for (int attempt = 1; ; attempt++) {
      try {
        return NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", port))
            .permitKeepAliveTime(1, TimeUnit.SECONDS)
            .addService(registry)
            .build()
            .start();
      } catch (IOException e) {
        if (attempt == 100) {
          throw e;
        }
        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(50));
      }
    }
  }

  /**
   * Accepts every worker and asks for a status each 20 ms.
   *
   * @param port 0 = any free
   */
  public static FakeRouter accepting(int port) throws IOException {
    return new FakeRouter(
        port,
        RegistryReply.newBuilder()
            .setAccepted(Accepted.newBuilder().setStatusIntervalMillis(20))
            .build());
  }

  public static FakeRouter refusing(Failure failure) throws IOException {
    return new FakeRouter(0, RegistryReply.newBuilder().setRefused(failure).build());
  }

  public HostPort address() {
    return new HostPort("127.0.0.1", server.getPort());
  }

  public Registration awaitRegistration() throws InterruptedException {
    Registration registration = registrations.poll(Eventually.AMPLE.toSeconds(), TimeUnit.SECONDS);
    if (registration == null) {
      throw new AssertionError("no worker registers");
    }
    return registration;
  }

  public WorkerStatus awaitStatus() throws InterruptedException {
    WorkerStatus status = statuses.poll(Eventually.AMPLE.toSeconds(), TimeUnit.SECONDS);
    if (status == null) {
      throw new AssertionError("no status comes");
    }
    return status;
  }

  @Override
  public void close() throws InterruptedException {
    server.shutdownNow();
    server.awaitTermination(5, TimeUnit.SECONDS);
  }

  private final class Registry extends WorkerRegistryGrpc.WorkerRegistryImplBase {

    private final RegistryReply answer;

    Registry(RegistryReply answer) {
      this.answer = answer;
    }

    @Override
    public StreamObserver<WorkerReport> register(StreamObserver<RegistryReply> replies) {
      return new StreamObserver<>() {
        @Override
        public void onNext(WorkerReport report) {
          switch (report.getReportCase()) {
            case REGISTRATION -> {
              registrations.add(report.getRegistration());
              replies.onNext(answer);
              if (answer.hasRefused()) {
                replies.onCompleted();
              }
            }
            case STATUS -> statuses.add(report.getStatus());
            case REPORT_NOT_SET -> throw new IllegalStateException("empty report");
          }
        }

        @Override
        public void onError(Throwable cause) {
          // The worker is gone; nobody to tell.
        }

        @Override
        public void onCompleted() {
          ended.complete(null);
          replies.onCompleted();
        }
      };
    }
  }
}
