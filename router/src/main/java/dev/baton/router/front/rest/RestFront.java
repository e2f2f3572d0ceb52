package dev.baton.router.front.rest;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.router.failure.FailureException;
import dev.baton.router.failure.Failures;
import dev.baton.router.generation.Generator;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import io.vertx.core.AbstractVerticle;
import io.vertx.core.Promise;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpMethod;
import io.vertx.core.http.HttpServer;
import io.vertx.core.http.HttpServerOptions;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.ext.web.Router;
import io.vertx.ext.web.RoutingContext;
import java.util.HashSet;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The HTTP server of one event loop: its routes, its connections, and what becomes of a request
 * before it is a {@link Reply}.
 */
final class RestFront extends AbstractVerticle {

  private static final Logger LOG = LoggerFactory.getLogger(RestFront.class);

  private static final int MAX_HEAD_BYTES = 16 << 10;
  private static final int BACKLOG = 4096;

  private final RestServer.Settings settings;
  private final Generator generator;
  private final ExecutorService blocking;
  private final Connections connections;
  private final BodyBudget bodies;
  private final SystemRoutes system;

  /** Paths that take POST alone. */
  private final Set<String> posts = new HashSet<>();

  private @Nullable HttpServer server;

  RestFront(
      RestServer.Settings settings,
      Generator generator,
      PrometheusRegistry metrics,
      ExecutorService blocking,
      Connections connections,
      BodyBudget bodies) {
    this.settings = settings;
    this.generator = generator;
    this.blocking = blocking;
    this.connections = connections;
    this.bodies = bodies;
    this.system = new SystemRoutes(generator, metrics, settings.version());
  }

  int port() {
    return Objects.requireNonNull(server).actualPort();
  }

  @Override
  public void start(Promise<Void> started) {
    HttpServer listening =
        vertx.createHttpServer(
            new HttpServerOptions()
                .setHost(settings.host())
                .setPort(settings.port())
                .setAcceptBacklog(BACKLOG)
                .setTcpNoDelay(true)
                .setTcpKeepAlive(true)
                .setMaxInitialLineLength(MAX_HEAD_BYTES)
                .setMaxHeaderSize(MAX_HEAD_BYTES)
                .setHandle100ContinueAutomatically(false)
                .setHttp2ClearTextEnabled(false));
    server = listening;
    Router router = routes();
    listening
        .connectionHandler(connections::opened)
        .invalidRequestHandler(RestFront::refuseMalformed)
        .requestHandler(
            request -> {
              connections.requestBegins(request.connection());
              request.response().endHandler(end -> connections.requestEnds(request.connection()));
              router.handle(request);
            })
        .exceptionHandler(cause -> LOG.debug("a connection broke", cause))
        .listen()
        .<Void>mapEmpty()
        .onComplete(started);
    vertx.setPeriodic(1000, tick -> connections.closeIdle());
  }

  private Router routes() {
    Router router = Router.router(vertx);
    CompletionRoutes completions = new CompletionRoutes(vertx, settings, generator);
    post(router, "/v1/chat/completions", completions::chat);
    post(router, "/v1/completions", completions::complete);
    TokenizerRoutes tokenizer = new TokenizerRoutes(generator);
    post(router, "/tokenize", tokenizer::tokenize);
    post(router, "/detokenize", tokenizer::detokenize);
    get(router, "/v1/models", (exchange, rest) -> system.models(exchange));
    get(router, "/v1/models/*", system::model);
    // What vLLM answers on, and SageMaker asks for.
    get(router, "/health", (exchange, rest) -> system.ready(exchange));
    get(router, "/ping", (exchange, rest) -> system.ready(exchange));
    get(router, "/health/live", (exchange, rest) -> system.live(exchange));
    get(router, "/health/ready", (exchange, rest) -> system.ready(exchange));
    get(router, "/metrics", (exchange, rest) -> system.metrics(exchange));
    get(router, "/version", (exchange, rest) -> system.version(exchange));
    router.errorHandler(
        404,
        routing ->
            exchange(routing)
                .fail(
                    Failures.of(
                        ErrorCode.ROUTE_NOT_FOUND, "no such path: " + shown(routing.request()))));
    router.errorHandler(
        405,
        routing -> {
          HttpServerRequest request = routing.request();
          String allowed = posts.contains(routing.normalizedPath()) ? "POST" : "GET, HEAD";
          request.response().putHeader("allow", allowed);
          exchange(routing)
              .fail(
                  Failures.of(
                      ErrorCode.METHOD_NOT_ALLOWED,
                      request.method()
                          + " is not allowed on "
                          + shown(request)
                          + " (expected: "
                          + allowed
                          + ")"));
        });
    router.errorHandler(
        500,
        routing -> {
          LOG.error("a request broke", routing.failure());
          exchange(routing).fail(Failures.of(ErrorCode.INTERNAL, "internal error"));
        });
    router.errorHandler(
        400,
        routing ->
            exchange(routing)
                .fail(Failures.of(ErrorCode.INVALID_REQUEST, "the request is malformed")));
    return router;
  }

  private void get(Router router, String path, BiConsumer<Exchange, String> handler) {
    String prefix = path.endsWith("*") ? path.substring(0, path.length() - 1) : path;
    router
        .route(path)
        .method(HttpMethod.GET)
        .method(HttpMethod.HEAD)
        .handler(
            routing -> {
              String full = routing.normalizedPath();
              handler.accept(
                  exchange(routing),
                  full.length() > prefix.length() ? full.substring(prefix.length()) : "");
            });
  }

  /** Answers to a JSON body; called on a virtual thread. */
  private interface Answer {
    void to(Exchange exchange, JsonFields body);
  }

  private void post(Router router, String path, Answer answer) {
    posts.add(path);
    router
        .route(HttpMethod.POST, path)
        .handler(
            routing -> {
              Exchange exchange = exchange(routing);
              RequestBody.read(
                  vertx,
                  exchange,
                  settings.maxBodyBytes(),
                  bodies,
                  settings.idleMillis(),
                  body -> blocking.execute(() -> answer(exchange, body, answer)));
            });
  }

  private void answer(Exchange exchange, Buffer body, Answer answer) {
    try {
      answer.to(exchange, JsonFields.parse(body.getBytes()));
    } catch (FailureException e) {
      exchange.run(() -> exchange.fail(e.failure()));
    } catch (RuntimeException e) {
      LOG.error("request {} broke", exchange.requestId(), e);
      exchange.run(() -> exchange.fail(Failures.internal(e)));
    } finally {
      bodies.give(body.length());
    }
  }

  private Exchange exchange(RoutingContext routing) {
    return new Exchange(vertx.getOrCreateContext(), routing.request());
  }

  private static void refuseMalformed(HttpServerRequest request) {
    Throwable cause = request.decoderResult().cause();
    request
        .response()
        .setStatusCode(400)
        .putHeader("content-type", "application/json")
        .putHeader("connection", "close")
        .end(
            Buffer.buffer(
                ReplyFormat.bytes(
                    Exchange.error(
                        Failures.of(
                            ErrorCode.INVALID_REQUEST,
                            "malformed HTTP: "
                                + (cause == null ? "unknown" : cause.getMessage()))))))
        .onComplete(written -> request.connection().close());
  }

  private static String shown(HttpServerRequest request) {
    String path = String.valueOf(request.path());
    return path.length() <= 100 ? path : path.substring(0, 100) + "...";
  }
}
