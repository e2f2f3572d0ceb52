package dev.baton.router;

import dev.baton.peer.ClusterSecret;
import java.nio.file.Path;
import java.util.Optional;

/**
 * What a router is started with.
 *
 * @param host address to bind to
 * @param port of the REST front; 0 = any free one
 * @param grpcPort of the gRPC front and of the worker registry; 0 = any free one
 * @param modelDirectory tokenizer and chat template; empty = the directory that the workers name
 * @param splitAbove prompts of more tokens than this go through a prefill worker; 0 = all
 * @param version of the program, for GET /version
 * @param clusterSecret what router and workers prove to each other; empty = whoever reaches the
 *     registry may register, which is for tests
 */
public record RouterOptions(
    String host,
    int port,
    int grpcPort,
    Optional<Path> modelDirectory,
    int splitAbove,
    RouterLimits limits,
    String version,
    Optional<ClusterSecret> clusterSecret) {

  public RouterOptions {
    checkPort("port", port);
    checkPort("grpcPort", grpcPort);
    if (splitAbove < 0) {
      throw new IllegalArgumentException("splitAbove: " + splitAbove + " (expected: >= 0)");
    }
  }

  /** 127.0.0.1, REST on 8080, gRPC on 9090, all prompts split. */
  public static RouterOptions defaults() {
    return new RouterOptions(
        "127.0.0.1",
        8080,
        9090,
        Optional.empty(),
        0,
        RouterLimits.defaults(),
        "0.1.0",
        Optional.empty());
  }

  public RouterOptions withHost(String other) {
    return new RouterOptions(
        other, port, grpcPort, modelDirectory, splitAbove, limits, version, clusterSecret);
  }

  public RouterOptions withPorts(int rest, int grpc) {
    return new RouterOptions(
        host, rest, grpc, modelDirectory, splitAbove, limits, version, clusterSecret);
  }

  public RouterOptions withModelDirectory(Path directory) {
    return new RouterOptions(
        host, port, grpcPort, Optional.of(directory), splitAbove, limits, version, clusterSecret);
  }

  public RouterOptions withSplitAbove(int tokens) {
    return new RouterOptions(
        host, port, grpcPort, modelDirectory, tokens, limits, version, clusterSecret);
  }

  public RouterOptions withLimits(RouterLimits other) {
    return new RouterOptions(
        host, port, grpcPort, modelDirectory, splitAbove, other, version, clusterSecret);
  }

  public RouterOptions withVersion(String other) {
    return new RouterOptions(
        host, port, grpcPort, modelDirectory, splitAbove, limits, other, clusterSecret);
  }

  public RouterOptions withClusterSecret(ClusterSecret secret) {
    return new RouterOptions(
        host, port, grpcPort, modelDirectory, splitAbove, limits, version, Optional.of(secret));
  }

  private static void checkPort(String name, int port) {
    if (port < 0 || port > 65_535) {
      throw new IllegalArgumentException(name + ": " + port + " (expected: 0 to 65535)");
    }
  }
}
