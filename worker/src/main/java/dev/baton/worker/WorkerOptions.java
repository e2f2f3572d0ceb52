package dev.baton.worker;

import dev.baton.engine.EngineOptions;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.peer.ClusterSecret;
import dev.baton.proto.worker.v1.Role;
import dev.baton.worker.wire.HostPort;
import java.time.Duration;
import java.util.Optional;

/**
 * How to run one worker process. {@link #of} gives the defaults; the {@code with} methods change
 * one value.
 *
 * @param role PREFILL, DECODE or BOTH
 * @param host address to listen on, and under which router and metrics reach the worker
 * @param grpcPort 0 = any free
 * @param registerAs where the router reaches the gRPC port, when that is another address than the
 *     worker listens on: behind a mapped port or a proxy
 * @param router where to register
 * @param engine the model and how to run it
 * @param transfer hand-offs of KV; empty on a worker that does both roles itself and hands nothing
 *     off. Needed by PREFILL and DECODE.
 * @param metricsPort of the metrics endpoint; 0 = none
 * @param sessionLimit sessions here at a time, running, waiting and freeing; more are refused
 * @param drainGrace how long sessions may finish when the worker is told to leave
 * @param version of the program, for people
 * @param clusterSecret what router and workers prove to each other; empty = whoever reaches this
 *     worker may use it, which is for tests
 */
public record WorkerOptions(
    Role role,
    String host,
    int grpcPort,
    HostPort router,
    EngineOptions engine,
    Optional<TransferOptions> transfer,
    int metricsPort,
    int sessionLimit,
    Duration drainGrace,
    String version,
    Optional<ClusterSecret> clusterSecret,
    Optional<HostPort> registerAs) {

  public WorkerOptions {
    switch (role) {
      case PREFILL, DECODE -> {
        if (transfer.isEmpty()) {
          throw new IllegalArgumentException(
              "transfer: none (expected: set for role %s)".formatted(role));
        }
      }
      case BOTH -> {}
      case ROLE_UNSPECIFIED, UNRECOGNIZED ->
          throw new IllegalArgumentException(
              "role: %s (expected: PREFILL, DECODE or BOTH)".formatted(role));
    }
    requirePort("grpcPort", grpcPort);
    requirePort("metricsPort", metricsPort);
    if (host.isEmpty()) {
      throw new IllegalArgumentException("host: empty (expected: an address to listen on)");
    }
    if (sessionLimit < 1) {
      throw new IllegalArgumentException(
          "sessionLimit: %d (expected: >= 1)".formatted(sessionLimit));
    }
    if (drainGrace.isNegative()) {
      throw new IllegalArgumentException("drainGrace: %s (expected: >= 0)".formatted(drainGrace));
    }
  }

  private static void requirePort(String name, int port) {
    if (port < 0 || port > 65535) {
      throw new IllegalArgumentException("%s: %d (expected: 0 to 65535)".formatted(name, port));
    }
  }

  /** On 127.0.0.1, with hand-offs unless the role is BOTH, without metrics. */
  public static WorkerOptions of(Role role, HostPort router, EngineOptions engine) {
    String host = "127.0.0.1";
    return new WorkerOptions(
        role,
        host,
        0,
        router,
        engine,
        role == Role.BOTH ? Optional.empty() : Optional.of(TransferOptions.on(host)),
        0,
        1024,
        Duration.ofSeconds(30),
        "unknown",
        Optional.empty(),
        Optional.empty());
  }

  /** Listens there with everything: gRPC, metrics and hand-offs. */
  public WorkerOptions withHost(String value) {
    Optional<TransferOptions> moved = transfer.map(t -> t.withHost(value));
    return new WorkerOptions(
        role,
        value,
        grpcPort,
        router,
        engine,
        moved,
        metricsPort,
        sessionLimit,
        drainGrace,
        version,
        clusterSecret,
        registerAs);
  }

  public WorkerOptions withGrpcPort(int value) {
    return new WorkerOptions(
        role,
        host,
        value,
        router,
        engine,
        transfer,
        metricsPort,
        sessionLimit,
        drainGrace,
        version,
        clusterSecret,
        registerAs);
  }

  public WorkerOptions withTransfer(TransferOptions value) {
    return new WorkerOptions(
        role,
        host,
        grpcPort,
        router,
        engine,
        Optional.of(value),
        metricsPort,
        sessionLimit,
        drainGrace,
        version,
        clusterSecret,
        registerAs);
  }

  public WorkerOptions withMetricsPort(int value) {
    return new WorkerOptions(
        role,
        host,
        grpcPort,
        router,
        engine,
        transfer,
        value,
        sessionLimit,
        drainGrace,
        version,
        clusterSecret,
        registerAs);
  }

  public WorkerOptions withSessionLimit(int value) {
    return new WorkerOptions(
        role,
        host,
        grpcPort,
        router,
        engine,
        transfer,
        metricsPort,
        value,
        drainGrace,
        version,
        clusterSecret,
        registerAs);
  }

  public WorkerOptions withDrainGrace(Duration value) {
    return new WorkerOptions(
        role,
        host,
        grpcPort,
        router,
        engine,
        transfer,
        metricsPort,
        sessionLimit,
        value,
        version,
        clusterSecret,
        registerAs);
  }

  public WorkerOptions withVersion(String value) {
    return new WorkerOptions(
        role,
        host,
        grpcPort,
        router,
        engine,
        transfer,
        metricsPort,
        sessionLimit,
        drainGrace,
        value,
        clusterSecret,
        registerAs);
  }

  public WorkerOptions withClusterSecret(ClusterSecret value) {
    return new WorkerOptions(
        role,
        host,
        grpcPort,
        router,
        engine,
        transfer,
        metricsPort,
        sessionLimit,
        drainGrace,
        version,
        Optional.of(value),
        registerAs);
  }

  public WorkerOptions withRegisterAs(HostPort value) {
    return new WorkerOptions(
        role,
        host,
        grpcPort,
        router,
        engine,
        transfer,
        metricsPort,
        sessionLimit,
        drainGrace,
        version,
        clusterSecret,
        Optional.of(value));
  }
}
