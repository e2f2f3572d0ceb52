package dev.baton.router;

import dev.baton.peer.PeerAuthentication;
import dev.baton.router.front.grpc.ClusterViewService;
import dev.baton.router.front.grpc.HealthService;
import dev.baton.router.front.grpc.InferenceService;
import dev.baton.router.front.rest.RestServer;
import dev.baton.router.generation.Generator;
import dev.baton.router.metrics.GenerationMetrics;
import dev.baton.router.metrics.SessionMetrics;
import dev.baton.router.metrics.WorkerMetrics;
import dev.baton.router.registry.OperationsService;
import dev.baton.router.registry.RegistryService;
import dev.baton.router.registry.WorkerDirectory;
import dev.baton.router.session.Sessions;
import dev.baton.router.text.HuggingFaceTextModel;
import dev.baton.router.text.TextModel;
import io.grpc.Server;
import io.grpc.ServerInterceptor;
import io.grpc.ServerInterceptors;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.services.ProtoReflectionServiceV1;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The router as a whole: the worker registry and the gRPC front on one port, the REST front on
 * another. It is ready for requests once workers have registered.
 */
public final class RouterServer implements AutoCloseable {

  private static final Logger LOG = LoggerFactory.getLogger(RouterServer.class);

  /** Beyond the largest REST body, so that the same prompt fits both fronts. */
  private static final int GRPC_SLACK_BYTES = 1 << 20;

  private static final long SILENCE_CHECK_MILLIS = 50;
  private static final long HEALTH_MILLIS = 100;
  private static final long LAST_WORDS_MILLIS = 200;

  private final RouterLimits limits;
  private final RouterSurroundings surroundings;
  private final WorkerDirectory directory;
  private final Sessions sessions;
  private final ScheduledThreadPoolExecutor timer;
  private final ExecutorService blocking;
  private final Server grpc;
  private final RestServer rest;

  private RouterServer(
      RouterLimits limits,
      RouterSurroundings surroundings,
      WorkerDirectory directory,
      Sessions sessions,
      ScheduledThreadPoolExecutor timer,
      ExecutorService blocking,
      Server grpc,
      RestServer rest) {
    this.limits = limits;
    this.surroundings = surroundings;
    this.directory = directory;
    this.sessions = sessions;
    this.timer = timer;
    this.blocking = blocking;
    this.grpc = grpc;
    this.rest = rest;
  }

  /**
   * Starts and listens.
   *
   * @throws IOException naming host and port when one cannot be bound
   * @throws dev.baton.router.text.TextModelException when the model directory cannot be used
   */
  public static RouterServer start(RouterOptions options) throws IOException {
    return start(options, HuggingFaceTextModel::load);
  }

  static RouterServer start(RouterOptions options, Function<Path, TextModel> loader)
      throws IOException {
    long startNanos = System.nanoTime();
    RouterLimits limits = options.limits();
    ExecutorService blocking =
        Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("router-request-", 0).factory());
    ScheduledThreadPoolExecutor timer =
        new ScheduledThreadPoolExecutor(
            1, Thread.ofPlatform().name("router-timer").daemon().factory());
    timer.setRemoveOnCancelPolicy(true);
    timer.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    Optional<PeerAuthentication> peers = options.clusterSecret().map(PeerAuthentication::new);
    RouterSurroundings surroundings =
        new RouterSurroundings(options.modelDirectory(), loader, peers);
    WorkerDirectory directory =
        new WorkerDirectory(surroundings, InstantSource.system(), System::nanoTime);
    Server grpc = null;
    RestServer rest = null;
    try {
      PrometheusRegistry registry = new PrometheusRegistry();
      Sessions sessions =
          new Sessions(
              directory,
              options.splitAbove(),
              new Sessions.Bounds(
                  limits.maxSessions(), limits.maxQueued(), limits.queueTimeout().toMillis()),
              timer,
              System::nanoTime,
              new SessionMetrics(registry));
      WorkerMetrics.register(registry, directory, sessions);
      timer.scheduleWithFixedDelay(
          directory::checkSilence,
          SILENCE_CHECK_MILLIS,
          SILENCE_CHECK_MILLIS,
          TimeUnit.MILLISECONDS);
      Generator generator =
          new Generator(
              directory,
              sessions,
              limits.requestTimeout().toMillis(),
              new GenerationMetrics(registry));
      HealthService health = new HealthService(generator);
      timer.scheduleWithFixedDelay(
          health::refresh, HEALTH_MILLIS, HEALTH_MILLIS, TimeUnit.MILLISECONDS);
      ClusterViewService view =
          new ClusterViewService(directory, sessions, timer, System::nanoTime);
      grpc = grpcServer(options, directory, generator, health, view, peers, blocking);
      rest =
          RestServer.start(
              new RestServer.Settings(
                  options.host(),
                  options.port(),
                  limits.maxBodyBytes(),
                  limits.maxBodyBytesInAll(),
                  limits.maxConnections(),
                  limits.idleTimeout().toMillis(),
                  limits.maxChoices(),
                  options.version()),
              generator,
              registry,
              blocking);
      surroundings.awaitText();
      LOG.info(
          "router: REST on {}:{}, gRPC and workers on {}:{}, after {} ms",
          options.host(),
          rest.port(),
          options.host(),
          grpc.getPort(),
          (System.nanoTime() - startNanos) / 1_000_000);
      return new RouterServer(
          limits, surroundings, directory, sessions, timer, blocking, grpc, rest);
    } catch (IOException | RuntimeException e) {
      if (rest != null) {
        rest.close();
      }
      if (grpc != null) {
        grpc.shutdownNow();
      }
      timer.shutdownNow();
      directory.close();
      surroundings.close();
      blocking.shutdownNow();
      throw e;
    }
  }

  private static Server grpcServer(
      RouterOptions options,
      WorkerDirectory directory,
      Generator generator,
      HealthService health,
      ClusterViewService view,
      Optional<PeerAuthentication> peers,
      ExecutorService executor)
      throws IOException {
    // What is not for clients takes the cluster secret.
    List<ServerInterceptor> forPeers = peers.map(PeerAuthentication::server).stream().toList();
    try {
      return NettyServerBuilder.forAddress(
              new InetSocketAddress(options.host(), options.grpcPort()))
          .executor(executor)
          .maxInboundMessageSize(options.limits().maxBodyBytes() + GRPC_SLACK_BYTES)
          // Workers ping every ten seconds.
          .permitKeepAliveTime(1, TimeUnit.SECONDS)
          .permitKeepAliveWithoutCalls(true)
          .addService(ServerInterceptors.intercept(new RegistryService(directory), forPeers))
          .addService(ServerInterceptors.intercept(view, forPeers))
          .addService(ServerInterceptors.intercept(new OperationsService(directory), forPeers))
          .addService(new InferenceService(generator, options.limits().maxChoices()))
          .addService(health.service())
          .addService(ProtoReflectionServiceV1.newInstance())
          .build()
          .start();
    } catch (IOException e) {
      Throwable cause = e.getCause() == null ? e : e.getCause();
      throw new IOException(
          "gRPC port " + options.host() + ":" + options.grpcPort() + ": " + cause.getMessage(), e);
    }
  }

  /** The REST front's actual port. */
  public int port() {
    return rest.port();
  }

  /** The actual port of the gRPC front and the worker registry. */
  public int grpcPort() {
    return grpc.getPort();
  }

  /**
   * Takes no new session, lets the running ones end for the grace period, fails the rest, and frees
   * everything. Blocks.
   */
  @Override
  public void close() {
    sessions.drain();
    LOG.info("router: closing, {} sessions run", sessions.active());
    boolean ended = sessions.awaitEnd(limits.gracePeriod().toMillis());
    if (!ended) {
      LOG.warn("router: {} sessions fail at the end of the grace period", sessions.active());
      sessions.endAll();
      sessions.awaitEnd(LAST_WORDS_MILLIS);
    }
    // What was just answered still has to be written.
    grpc.shutdown();
    rest.close();
    try {
      if (!grpc.awaitTermination(LAST_WORDS_MILLIS, TimeUnit.MILLISECONDS)) {
        // The workers' own streams never end by themselves.
        grpc.shutdownNow();
      }
    } catch (InterruptedException e) {
      grpc.shutdownNow();
      Thread.currentThread().interrupt();
    }
    timer.shutdownNow();
    directory.close();
    surroundings.close();
    blocking.shutdownNow();
  }
}
