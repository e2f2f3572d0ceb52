package dev.baton.simulation.cluster;

import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.PrefillRequest;
import dev.baton.proto.worker.v1.SessionSpec;
import io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import io.grpc.ForwardingServerCallListener.SimpleForwardingServerCallListener;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Watches a worker's calls: counts those that are open, by session, and sees to it that an attempt
 * sends no token after a newer one of its session has spoken here.
 */
final class ServedSessions implements ServerInterceptor {

  private final Map<String, Integer> open = new HashMap<>();
  private final Map<String, Integer> newest = new HashMap<>();
  private final Consumer<String> onViolation;
  private long laterAttempts;
  private long resumed;

  ServedSessions(Consumer<String> onViolation) {
    this.onViolation = onViolation;
  }

  /** Calls of an epoch above 1. */
  long laterAttempts() {
    return laterAttempts;
  }

  /** Those of them that went on after tokens. */
  long resumed() {
    return resumed;
  }

  boolean has(String session) {
    return open.containsKey(session);
  }

  private static boolean isToken(Object message) {
    return switch (message) {
      case DecodeEvent event -> event.hasToken();
      case PrefillEvent event -> event.hasFirstToken();
      default -> false;
    };
  }

  @Override
  public <Q, R> ServerCall.Listener<Q> interceptCall(
      ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
    String[] session = {""};
    int[] epoch = {0};
    String[] name = {""};
    Runnable over =
        () -> {
          open.computeIfPresent(session[0], (_, count) -> count == 1 ? null : count - 1);
          session[0] = "";
        };
    ServerCall<Q, R> watched =
        new SimpleForwardingServerCall<>(call) {
          @Override
          public void sendMessage(R message) {
            int spoke = newest.merge(name[0], epoch[0], Math::max);
            if (spoke > epoch[0] && isToken(message)) {
              onViolation.accept(
                  "%s/%d sends a token after attempt %d has spoken"
                      .formatted(name[0], epoch[0], spoke));
            }
            super.sendMessage(message);
          }

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
          case DecodeRequest request -> began(request.getSession());
          case PrefillRequest request -> began(request.getSession());
          default -> {
            // not a session
          }
        }
        super.onMessage(message);
      }

      private void began(SessionSpec spec) {
        String id = spec.getSessionId();
        int mark = id.indexOf('#');
        name[0] = mark < 0 ? id : id.substring(0, mark);
        session[0] = name[0];
        epoch[0] = spec.getEpoch();
        laterAttempts += spec.getEpoch() > 1 ? 1 : 0;
        resumed += spec.getGeneratedCount() > 0 ? 1 : 0;
        open.merge(name[0], 1, Integer::sum);
      }

      @Override
      public void onCancel() {
        over.run();
        super.onCancel();
      }
    };
  }
}
