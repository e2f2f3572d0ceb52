package dev.baton.simulation.cluster;

import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.PrefillRequest;
import io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import io.grpc.ForwardingServerCallListener.SimpleForwardingServerCallListener;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import java.util.HashMap;
import java.util.Map;

/** Counts the calls that are open on a worker, by session. */
final class ServedSessions implements ServerInterceptor {

  private final Map<String, Integer> open = new HashMap<>();

  boolean has(String session) {
    return open.containsKey(session);
  }

  @Override
  public <Q, R> ServerCall.Listener<Q> interceptCall(
      ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
    String[] session = {""};
    Runnable over =
        () -> {
          open.computeIfPresent(session[0], (_, count) -> count == 1 ? null : count - 1);
          session[0] = "";
        };
    ServerCall<Q, R> watched =
        new SimpleForwardingServerCall<>(call) {
          @Override
          public void close(Status status, Metadata trailers) {
            over.run();
            super.close(status, trailers);
          }
        };
    return new SimpleForwardingServerCallListener<>(next.startCall(watched, headers)) {
      @Override
      public void onMessage(Q message) {
        switch (message) {
          case DecodeRequest request -> began(request.getSession().getSessionId());
          case PrefillRequest request -> began(request.getSession().getSessionId());
          default -> {
            // not a session
          }
        }
        super.onMessage(message);
      }

      private void began(String id) {
        session[0] = id;
        open.merge(id, 1, Integer::sum);
      }

      @Override
      public void onCancel() {
        over.run();
        super.onCancel();
      }
    };
  }
}
