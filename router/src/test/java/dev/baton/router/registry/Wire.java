package dev.baton.router.registry;

import dev.baton.proto.worker.v1.WorkerStatus;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** A connection whose calls are answered at once, or when the test says so. */
final class Wire extends ManagedChannel {
  private final List<Runnable> answers = new ArrayList<>();
  private final boolean atOnce;
  private boolean shutdown;

  Wire(boolean atOnce) {
    this.atOnce = atOnce;
  }

  /** Calls without an answer. */
  int questions() {
    return answers.size();
  }

  void answer() {
    answers.forEach(Runnable::run);
    answers.clear();
  }

  @Override
  public <Q, R> ClientCall<Q, R> newCall(MethodDescriptor<Q, R> method, CallOptions options) {
    return new ClientCall<>() {
      @Override
      @SuppressWarnings("unchecked") // GetStatus alone is called
      public void start(Listener<R> listener, Metadata headers) {
        answers.add(
            () -> {
              listener.onMessage((R) WorkerStatus.getDefaultInstance());
              listener.onClose(Status.OK, new Metadata());
            });
      }

      @Override
      public void request(int messages) {
        // Answers come when the test says so.
      }

      @Override
      public void cancel(@Nullable String message, @Nullable Throwable cause) {
        // Nobody cancels.
      }

      @Override
      public void halfClose() {
        if (atOnce) {
          answer();
        }
      }

      @Override
      public void sendMessage(Q message) {
        // Nothing is sent.
      }
    };
  }

  @Override
  public ManagedChannel shutdown() {
    return shutdownNow();
  }

  @Override
  public ManagedChannel shutdownNow() {
    shutdown = true;
    return this;
  }

  @Override
  public ConnectivityState getState(boolean connect) {
    return ConnectivityState.READY;
  }

  @Override
  public boolean isShutdown() {
    return shutdown;
  }

  @Override
  public boolean isTerminated() {
    return shutdown;
  }

  @Override
  public boolean awaitTermination(long timeout, TimeUnit unit) {
    return shutdown;
  }

  @Override
  public String authority() {
    return "d:1";
  }
}
