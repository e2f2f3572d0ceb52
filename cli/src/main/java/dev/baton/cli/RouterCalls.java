package dev.baton.cli;

import dev.baton.peer.PeerAuthentication;
import dev.baton.proto.worker.v1.RouterControlGrpc;
import dev.baton.worker.wire.HostPort;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.function.Consumer;

/** A command's call to the router's control service. */
final class RouterCalls {

  private RouterCalls() {}

  /** Throws {@link CommandFailure} with the router's own words. */
  static void call(
      HostPort router,
      PeerFlags peers,
      Consumer<RouterControlGrpc.RouterControlBlockingStub> action) {
    ManagedChannel channel =
        Grpc.newChannelBuilder(router.toString(), InsecureChannelCredentials.create()).build();
    try {
      action.accept(
          RouterControlGrpc.newBlockingStub(channel)
              .withInterceptors(new PeerAuthentication(peers.secret()).client()));
    } catch (StatusRuntimeException e) {
      String words = e.getStatus().getDescription();
      throw CommandFailure.failed(
          e.getStatus().getCode() == Status.Code.UNAVAILABLE || words == null
              ? "%s: %s (expected: a router's gRPC address)".formatted(router, e.getStatus())
              : words);
    } finally {
      channel.shutdownNow();
    }
  }
}
