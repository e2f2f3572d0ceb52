package dev.baton.simulation.sabotage;

import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.PrefillRequest;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.proto.worker.v1.SessionSpec;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import java.util.function.BiFunction;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** Changes sessions on their way to workers, and tokens on their way back. */
final class RewritingCalls implements ClientInterceptor {

  private final UnaryOperator<SessionSpec> session;
  private final BiFunction<SessionSpec, SampledToken, SampledToken> token;
  private final boolean cancels;

  /**
   * @param token gets the session as it was before it was changed
   * @param cancels whether cancellations reach the worker
   */
  RewritingCalls(
      UnaryOperator<SessionSpec> session,
      BiFunction<SessionSpec, SampledToken, SampledToken> token,
      boolean cancels) {
    this.session = session;
    this.token = token;
    this.cancels = cancels;
  }

  @Override
  public <Q, R> ClientCall<Q, R> interceptCall(
      MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
    return new SimpleForwardingClientCall<Q, R>(next.newCall(method, options)) {
      private @Nullable SessionSpec original;

      @Override
      public void start(Listener<R> listener, Metadata headers) {
        super.start(
            new SimpleForwardingClientCallListener<R>(listener) {
              @Override
              public void onMessage(R message) {
                super.onMessage(event(message));
              }
            },
            headers);
      }

      @SuppressWarnings("unchecked") // of the class that it was
      @Override
      public void sendMessage(Q message) {
        Object changed =
            switch (message) {
              case DecodeRequest m -> m.toBuilder().setSession(changed(m.getSession())).build();
              case PrefillRequest m -> m.toBuilder().setSession(changed(m.getSession())).build();
              default -> message;
            };
        super.sendMessage((Q) changed);
      }

      private SessionSpec changed(SessionSpec spec) {
        original = spec;
        return session.apply(spec);
      }

      @SuppressWarnings("unchecked") // of the class that it was
      private R event(R message) {
        SessionSpec spec = original;
        if (spec == null) {
          return message;
        }
        Object changed =
            switch (message) {
              case DecodeEvent m when m.hasToken() ->
                  m.toBuilder().setToken(token.apply(spec, m.getToken())).build();
              case DecodeEvent m when m.hasFinished() ->
                  m.toBuilder()
                      .setFinished(
                          m.getFinished().toBuilder()
                              .setGeneratedTokens(
                                  token
                                      .apply(
                                          spec,
                                          SampledToken.newBuilder()
                                              .setIndex(m.getFinished().getGeneratedTokens())
                                              .build())
                                      .getIndex()))
                      .build();
              case PrefillEvent m when m.hasFirstToken() ->
                  m.toBuilder().setFirstToken(token.apply(spec, m.getFirstToken())).build();
              default -> message;
            };
        return (R) changed;
      }

      @Override
      public void cancel(@Nullable String message, @Nullable Throwable cause) {
        if (cancels) {
          super.cancel(message, cause);
        }
      }
    };
  }
}
