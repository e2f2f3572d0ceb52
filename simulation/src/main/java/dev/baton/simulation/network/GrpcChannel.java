package dev.baton.simulation.network;

import dev.baton.simulation.clock.Process;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import java.util.List;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** A process's channel to an address: connects when first needed, and anew when it has broken. */
public final class GrpcChannel extends ManagedChannel {

  private final Network network;
  private final Process process;
  private final String address;
  private final long keepAliveNanos;
  private final Executor callbacks;
  private final Channel intercepted;
  private @Nullable Connection connection;
  private boolean shutdown;

  /**
   * @param keepAliveNanos silence after which the connection counts as broken
   * @param callbacks runs what the calls tell, in order
   */
  public GrpcChannel(
      Network network,
      Process process,
      String address,
      long keepAliveNanos,
      Executor callbacks,
      List<ClientInterceptor> interceptors) {
    this.network = network;
    this.process = process;
    this.address = address;
    this.keepAliveNanos = keepAliveNanos;
    this.callbacks = callbacks;
    this.intercepted = ClientInterceptors.intercept(new Plain(), interceptors);
  }

  /** The channel without interceptors. */
  private final class Plain extends Channel {
    @Override
    public <Q, R> ClientCall<Q, R> newCall(MethodDescriptor<Q, R> method, CallOptions options) {
      return new Call<>(GrpcChannel.this, method);
    }

    @Override
    public String authority() {
      return address;
    }
  }

  @Override
  public <Q, R> ClientCall<Q, R> newCall(MethodDescriptor<Q, R> method, CallOptions options) {
    return intercepted.newCall(method, options);
  }

  @Override
  public String authority() {
    return address;
  }

  /** The connection, made now if there is none; null when nobody listens. */
  @Nullable Connection connected() {
    if (connection == null || !connection.openAtClient()) {
      GrpcServer server = network.server(address);
      connection = server == null ? null : new Connection(network, process, server, keepAliveNanos);
    }
    return connection;
  }

  boolean traced() {
    return network.traced();
  }

  void note(String what) {
    network.note(process, what);
  }

  void note(Process at, String what) {
    network.note(at, what);
  }

  void callback(Runnable task) {
    callbacks.execute(task);
  }

  /** As a callback, but not within the call that causes it. */
  void later(Runnable task) {
    process.after(network.latency(), () -> callbacks.execute(task));
  }

  @Override
  public ConnectivityState getState(boolean connect) {
    if (connect && !shutdown) {
      connected();
    }
    return shutdown ? ConnectivityState.SHUTDOWN : ConnectivityState.READY;
  }

  @Override
  public ManagedChannel shutdown() {
    shutdown = true;
    return this;
  }

  @Override
  public ManagedChannel shutdownNow() {
    shutdown = true;
    if (connection != null) {
      connection.breakAtClient("Channel shutdownNow invoked");
    }
    return this;
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
}
