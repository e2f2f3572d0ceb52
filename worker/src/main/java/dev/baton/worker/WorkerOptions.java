package dev.baton.worker;

import dev.baton.engine.EngineOptions;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.peer.ClusterSecret;
import dev.baton.proto.worker.v1.Role;
import dev.baton.worker.wire.HostPort;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Consumer;

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
    return new Draft(role, router, engine).options();
  }

  /** Listens there with everything: gRPC, metrics and hand-offs. */
  public WorkerOptions withHost(String value) {
    return with(
        draft -> {
          draft.host = value;
          draft.transfer = transfer.map(t -> t.withHost(value));
        });
  }

  public WorkerOptions withGrpcPort(int value) {
    return with(draft -> draft.grpcPort = value);
  }

  public WorkerOptions withTransfer(TransferOptions value) {
    return with(draft -> draft.transfer = Optional.of(value));
  }

  public WorkerOptions withMetricsPort(int value) {
    return with(draft -> draft.metricsPort = value);
  }

  public WorkerOptions withSessionLimit(int value) {
    return with(draft -> draft.sessionLimit = value);
  }

  public WorkerOptions withDrainGrace(Duration value) {
    return with(draft -> draft.drainGrace = value);
  }

  public WorkerOptions withVersion(String value) {
    return with(draft -> draft.version = value);
  }

  public WorkerOptions withClusterSecret(ClusterSecret value) {
    return with(draft -> draft.clusterSecret = Optional.of(value));
  }

  public WorkerOptions withRegisterAs(HostPort value) {
    return with(draft -> draft.registerAs = Optional.of(value));
  }

  private WorkerOptions with(Consumer<Draft> change) {
    Draft draft = new Draft(role, router, engine);
    draft.host = host;
    draft.grpcPort = grpcPort;
    draft.transfer = transfer;
    draft.metricsPort = metricsPort;
    draft.sessionLimit = sessionLimit;
    draft.drainGrace = drainGrace;
    draft.version = version;
    draft.clusterSecret = clusterSecret;
    draft.registerAs = registerAs;
    change.accept(draft);
    return draft.options();
  }

  /** The options while one of them changes; begins with the defaults. */
  private static final class Draft {
    final Role role;
    final HostPort router;
    final EngineOptions engine;
    String host = "127.0.0.1";
    int grpcPort = 0;
    Optional<TransferOptions> transfer;
    int metricsPort = 0;
    int sessionLimit = 1024;
    Duration drainGrace = Duration.ofSeconds(30);
    String version = "unknown";
    Optional<ClusterSecret> clusterSecret = Optional.empty();
    Optional<HostPort> registerAs = Optional.empty();

    Draft(Role role, HostPort router, EngineOptions engine) {
      this.role = role;
      this.router = router;
      this.engine = engine;
      transfer = role == Role.BOTH ? Optional.empty() : Optional.of(TransferOptions.on(host));
    }

    WorkerOptions options() {
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
          registerAs);
    }
  }
}
