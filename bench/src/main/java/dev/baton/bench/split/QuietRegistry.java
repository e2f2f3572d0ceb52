package dev.baton.bench.split;

import dev.baton.bench.MeasuredProcess;
import dev.baton.proto.worker.v1.Accepted;
import dev.baton.proto.worker.v1.RegistryReply;
import dev.baton.proto.worker.v1.WorkerRegistryGrpc;
import dev.baton.proto.worker.v1.WorkerReport;
import io.grpc.Server;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.TimeUnit;

/** Accepts every worker and does nothing with it, so that none looks for its router meanwhile. */
final class QuietRegistry extends WorkerRegistryGrpc.WorkerRegistryImplBase
    implements AutoCloseable {

  /** As a router asks for. */
  private static final int STATUS_MILLIS = 250;

  private final Server server;

  QuietRegistry() throws IOException {
    server =
        NettyServerBuilder.forAddress(new InetSocketAddress(MeasuredProcess.HOST, 0))
            // Workers ask often whether their router is there.
            .permitKeepAliveTime(500, TimeUnit.MILLISECONDS)
            .permitKeepAliveWithoutCalls(true)
            .addService(this)
            .build()
            .start();
  }

  String address() {
    return MeasuredProcess.HOST + ":" + server.getPort();
  }

  @Override
  public StreamObserver<WorkerReport> register(StreamObserver<RegistryReply> replies) {
    return new StreamObserver<>() {
      @Override
      public void onNext(WorkerReport report) {
        if (report.hasRegistration()) {
          replies.onNext(
              RegistryReply.newBuilder()
                  .setAccepted(Accepted.newBuilder().setStatusIntervalMillis(STATUS_MILLIS))
                  .build());
        }
      }

      @Override
      public void onError(Throwable cause) {
        // The worker is gone; whoever waits for its answer says so.
      }

      @Override
      public void onCompleted() {
        replies.onCompleted();
      }
    };
  }

  @Override
  public void close() {
    server.shutdownNow();
  }
}
