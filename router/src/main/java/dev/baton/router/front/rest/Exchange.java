package dev.baton.router.front.rest;

import dev.baton.proto.errors.v1.Failure;
import dev.baton.router.failure.Failures;
import io.vertx.core.Context;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.core.http.HttpServerResponse;
import java.util.HexFormat;
import java.util.concurrent.ThreadLocalRandom;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * One HTTP request and its answer. All methods but {@link #run} and {@link #requestId} are for the
 * request's event loop alone.
 */
final class Exchange {

  private static final String REQUEST_ID = "x-request-id";

  /** What may stand in a session's id; the rest of a client's id is replaced. */
  private static final Pattern ODD = Pattern.compile("[^A-Za-z0-9._-]");

  private static final int MAX_ID = 64;

  private final Context context;
  private final HttpServerRequest request;
  private final String requestId;
  private @Nullable Runnable onGone;
  private boolean gone;

  /** To be made while the request is being handled, so that no event is missed. */
  Exchange(Context context, HttpServerRequest request) {
    this.context = context;
    this.request = request;
    this.requestId = idOf(request.getHeader(REQUEST_ID));
    request.response().putHeader(REQUEST_ID, requestId);
    request.response().closeHandler(closed -> left());
    request.response().exceptionHandler(cause -> left());
  }

  /** The client's own id, cleaned, or a new one. */
  String requestId() {
    return requestId;
  }

  HttpServerRequest request() {
    return request;
  }

  HttpServerResponse response() {
    return request.response();
  }

  Context context() {
    return context;
  }

  /** Runs the task on the event loop, after those given before by the same thread. */
  void run(Runnable task) {
    context.runOnContext(ignored -> task.run());
  }

  /** The client has gone, or the answer has been given. */
  boolean over() {
    return gone || response().ended() || response().closed();
  }

  /** Has the task run, at once when it already happened, if the client goes before the answer. */
  void onGone(Runnable task) {
    onGone = task;
    if (gone) {
      task.run();
    }
  }

  void json(int status, ObjectNode body) {
    if (!over()) {
      response()
          .setStatusCode(status)
          .putHeader("content-type", "application/json")
          .end(Buffer.buffer(ReplyFormat.bytes(body)));
    }
  }

  /** Answers with an error in OpenAI's form. */
  void fail(Failure failure) {
    if (over()) {
      return;
    }
    if (failure.getRetryAfterMillis() > 0) {
      long seconds = Math.ceilDiv(failure.getRetryAfterMillis(), 1000L);
      response().putHeader("retry-after", Long.toString(seconds));
    }
    json(Failures.shape(failure.getCode()).httpStatus(), error(failure));
  }

  /** The body of an error in OpenAI's form; all four fields are always there. */
  static ObjectNode error(Failure failure) {
    Failures.Shape shape = Failures.shape(failure.getCode());
    ObjectNode body = JsonNodeFactory.instance.objectNode();
    ObjectNode error = body.putObject("error");
    error.put("message", failure.getMessage());
    error.put("type", shape.openAiType());
    error.put("param", failure.getField().isEmpty() ? null : failure.getField());
    error.put("code", shape.openAiCode());
    return body;
  }

  private void left() {
    if (!gone && !response().ended()) {
      gone = true;
      if (onGone != null) {
        onGone.run();
      }
    }
  }

  private static String idOf(@Nullable String given) {
    if (given == null || given.isBlank()) {
      return HexFormat.of().toHexDigits(ThreadLocalRandom.current().nextLong());
    }
    String cleaned = ODD.matcher(given).replaceAll("_");
    return cleaned.length() <= MAX_ID ? cleaned : cleaned.substring(0, MAX_ID);
  }
}
