package dev.baton.simulation.network;

import dev.baton.simulation.clock.Process;
import io.grpc.BindableService;
import io.grpc.ServerInterceptor;
import io.grpc.ServerInterceptors;
import io.grpc.ServerMethodDefinition;
import io.grpc.ServerServiceDefinition;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A process's gRPC server: the services as they are bound in production, without a socket. */
public final class GrpcServer {

  private final Process process;
  private final String address;
  private final long keepAliveNanos;
  private final Map<String, ServerMethodDefinition<?, ?>> methods = new HashMap<>();

  /**
   * Listens from now on until the process dies.
   *
   * @param keepAliveNanos silence after which a client counts as gone
   * @param interceptors the first one sees calls last
   */
  public GrpcServer(
      Network network,
      Process process,
      String address,
      long keepAliveNanos,
      List<BindableService> services,
      List<ServerInterceptor> interceptors) {
    this.process = process;
    this.address = address;
    this.keepAliveNanos = keepAliveNanos;
    for (BindableService service : services) {
      ServerServiceDefinition bound = ServerInterceptors.intercept(service, interceptors);
      bound
          .getMethods()
          .forEach(method -> methods.put(method.getMethodDescriptor().getFullMethodName(), method));
    }
    network.listen(this);
  }

  Process process() {
    return process;
  }

  String address() {
    return address;
  }

  long keepAliveNanos() {
    return keepAliveNanos;
  }

  @Nullable ServerMethodDefinition<?, ?> method(String name) {
    return methods.get(name);
  }
}
