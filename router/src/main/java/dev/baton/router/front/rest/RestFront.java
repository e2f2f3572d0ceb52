package dev.baton.router.front.rest;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.router.failure.FailureException;
import dev.baton.router.failure.Failures;
import dev.baton.router.generation.GenerationRequest;
import dev.baton.router.generation.Generator;
import dev.baton.router.generation.PreparedRequest;
import dev.baton.router.registry.ServedModel;
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
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
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
  private final SystemRoutes system;
  private @Nullable HttpServer server;

  RestFront(
      RestServer.Settings settings,
      Generator generator,
      PrometheusRegistry metrics,
      ExecutorService blocking,
      Connections connections) {
    this.settings = settings;
    this.generator = generator;
    this.blocking = blocking;
    this.connections = connections;
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
    completion(router, "/v1/chat/completions", this::chat);
    completion(router, "/v1/completions", this::complete);
    get(router, "/v1/models", (exchange, rest) -> system.models(exchange));
    get(router, "/v1/models/*", system::model);
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
        routing ->
            exchange(routing)
                .fail(
                    Failures.of(
                        ErrorCode.METHOD_NOT_ALLOWED,
                        routing.request().method()
                            + " is not allowed on "
                            + shown(routing.request()))));
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
        .route(HttpMethod.GET, path)
        .handler(
            routing -> {
              String full = routing.normalizedPath();
              handler.accept(
                  exchange(routing),
                  full.length() > prefix.length() ? full.substring(prefix.length()) : "");
            });
  }

  /** Reads one kind of body into a request. */
  private interface Reader {
    RestRequest read(JsonFields body, String requestId);
  }

  private RestRequest chat(JsonFields body, String requestId) {
    return ChatRequestReader.read(body, requestId);
  }

  private RestRequest complete(JsonFields body, String requestId) {
    return CompletionRequestReader.read(body, requestId, settings.maxChoices());
  }

  private void completion(Router router, String path, Reader reader) {
    boolean chat = path.contains("chat");
    router
        .route(HttpMethod.POST, path)
        .handler(
            routing -> {
              Exchange exchange = exchange(routing);
              RequestBody.read(
                  vertx,
                  exchange,
                  settings.maxBodyBytes(),
                  settings.idleMillis(),
                  body -> blocking.execute(() -> prepare(exchange, body, reader, chat)));
            });
  }

  /** Parses, checks and tokenizes; on a virtual thread. */
  private void prepare(Exchange exchange, Buffer body, Reader reader, boolean chat) {
    try {
      RestRequest request = reader.read(JsonFields.parse(body.getBytes()), exchange.requestId());
      if ((long) request.prompts().size() * request.n() > settings.maxChoices()) {
        throw JsonFields.invalid(
            "n",
            request.n() + " for " + request.prompts().size() + " prompts",
            "at most " + settings.maxChoices() + " choices in all");
      }
      List<PreparedRequest> prompts = new ArrayList<>();
      for (GenerationRequest prompt : request.prompts()) {
        prompts.add(generator.prepare(prompt));
      }
      ServedModel model = prompts.getFirst().model();
      long created = System.currentTimeMillis() / 1000;
      String fingerprint = "fp_" + shortened(model.identity().getFingerprint());
      ReplyFormat format =
          chat
              ? new ChatFormat(request, exchange.requestId(), model.name(), fingerprint, created)
              : new CompletionFormat(
                  request, exchange.requestId(), model.name(), fingerprint, created);
      exchange.run(
          () -> {
            Reply reply =
                request.stream()
                    ? new StreamedReply(exchange, format, prompts, vertx, settings.idleMillis())
                    : new WholeReply(exchange, format, prompts);
            reply.start(generator);
          });
    } catch (FailureException e) {
      exchange.run(() -> exchange.fail(e.failure()));
    } catch (RuntimeException e) {
      LOG.error("request {} broke", exchange.requestId(), e);
      exchange.run(() -> exchange.fail(Failures.internal(e)));
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

  private static String shortened(String fingerprint) {
    return fingerprint.length() <= 12 ? fingerprint : fingerprint.substring(0, 12);
  }
}
