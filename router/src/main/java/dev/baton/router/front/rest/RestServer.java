package dev.baton.router.front.rest;

import dev.baton.router.generation.Generator;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import io.vertx.core.DeploymentOptions;
import io.vertx.core.Vertx;
import io.vertx.core.VertxOptions;
import io.vertx.core.file.FileSystemOptions;
import java.io.IOException;
import java.util.List;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The REST front as a whole: its event loops and the HTTP servers on them. */
public final class RestServer implements AutoCloseable {

  private static final Logger LOG = LoggerFactory.getLogger(RestServer.class);

  private static final int MOST_LOOPS = 8;
  private static final long CLOSE_SECONDS = 5;

  /**
   * What the front needs to know.
   *
   * @param port 0 = any free one
   * @param maxBodyBytesInAll of all requests that arrive or are being tokenized
   * @param maxConnections beyond it new ones are closed at once
   * @param idleMillis of a connection without work, of a body to arrive, of a client that reads
   *     nothing
   * @param maxChoices continuations of one request
   */
  public record Settings(
      String host,
      int port,
      int maxBodyBytes,
      long maxBodyBytesInAll,
      int maxConnections,
      long idleMillis,
      int maxChoices,
      String version) {}

  private static final long ANSWER_SECONDS = 2;

  private final Vertx vertx;
  private final Connections connections;
  private final int port;

  private RestServer(Vertx vertx, Connections connections, int port) {
    this.vertx = vertx;
    this.connections = connections;
    this.port = port;
  }

  /**
   * Listens.
   *
   * @param blocking runs what computes or waits; virtual threads
   * @throws IOException naming host and port when it cannot
   */
  public static RestServer start(
      Settings settings, Generator generator, PrometheusRegistry metrics, ExecutorService blocking)
      throws IOException {
    // Several loops share a port only when it is a given one.
    int loops =
        settings.port() == 0
            ? 1
            : Math.min(MOST_LOOPS, Math.max(1, Runtime.getRuntime().availableProcessors() / 2));
    Vertx vertx =
        Vertx.vertx(
            new VertxOptions()
                .setEventLoopPoolSize(loops)
                .setWorkerPoolSize(1)
                .setInternalBlockingPoolSize(1)
                .setFileSystemOptions(
                    new FileSystemOptions()
                        .setFileCachingEnabled(false)
                        .setClassPathResolvingEnabled(false)));
    Connections connections =
        new Connections(
            settings.maxConnections(),
            TimeUnit.MILLISECONDS.toNanos(settings.idleMillis()),
            System::nanoTime);
    BodyBudget bodies = new BodyBudget(settings.maxBodyBytesInAll());
    List<RestFront> fronts = new CopyOnWriteArrayList<>();
    try {
      vertx
          .deployVerticle(
              () -> {
                RestFront front =
                    new RestFront(settings, generator, metrics, blocking, connections, bodies);
                fronts.add(front);
                return front;
              },
              new DeploymentOptions().setInstances(loops))
          .toCompletionStage()
          .toCompletableFuture()
          .join();
    } catch (CompletionException e) {
      vertx.close();
      Throwable cause = e.getCause() == null ? e : e.getCause();
      throw new IOException(
          "REST port " + settings.host() + ":" + settings.port() + ": " + cause.getMessage(),
          cause);
    }
    return new RestServer(vertx, connections, fronts.getFirst().port());
  }

  public int port() {
    return port;
  }

  /** Lets the answers under way be written, for a while, and closes all connections. Blocks. */
  @Override
  public void close() {
    try {
      if (!connections.awaitAnswers(TimeUnit.SECONDS.toNanos(ANSWER_SECONDS))) {
        LOG.warn("the REST front closes with {} connections open", connections.count());
      }
      vertx.close().toCompletionStage().toCompletableFuture().get(CLOSE_SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (ExecutionException | TimeoutException e) {
      LOG.warn("the REST front did not close in order", e);
    }
  }
}
