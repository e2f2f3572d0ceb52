package dev.baton.simulation.sabotage;

import dev.baton.proto.worker.v1.DecodeRequest;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Never cancels a session's old decode call, and passes its events to the newest attempt. */
final class CrossedCalls implements ClientInterceptor {

  private final Map<String, ClientCall.Listener<Object>> newest = new HashMap<>();

  @Override
  public <Q, R> ClientCall<Q, R> interceptCall(
      MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
    return new SimpleForwardingClientCall<Q, R>(next.newCall(method, options)) {
      private ClientCall.@Nullable Listener<R> own;
      private String session = "";

      @Override
      public void start(Listener<R> listener, Metadata headers) {
        own = listener;
        super.start(
            new SimpleForwardingClientCallListener<R>(listener) {
              @Override
              public void onMessage(R message) {
                ClientCall.Listener<Object> current = newest.get(session);
                if (current == null || current == own) {
                  super.onMessage(message);
                } else {
                  current.onMessage(message);
                }
              }
            },
            headers);
      }

      @SuppressWarnings("unchecked") // it gets decode events, as its own call has them
      @Override
      public void sendMessage(Q message) {
        if (message instanceof DecodeRequest request && own != null) {
          session = request.getSession().getSessionId();
          newest.put(session, (ClientCall.Listener<Object>) own);
        }
        super.sendMessage(message);
      }

      @Override
      public void cancel(@Nullable String message, @Nullable Throwable cause) {
        if (session.isEmpty()) {
          super.cancel(message, cause);
        }
      }
    };
  }
}
