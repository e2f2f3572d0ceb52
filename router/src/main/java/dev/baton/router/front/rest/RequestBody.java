package dev.baton.router.front.rest;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.router.failure.Failures;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpServerRequest;
import java.util.function.Consumer;

/**
 * Reads a request's body up to a bound, and within the budget of all bodies. What is beyond is
 * thrown away unread for a while, so that the client gets to see the 413 instead of a reset, and
 * then the connection is closed.
 */
final class RequestBody {

  private static final int LINGER_FACTOR = 16;
  private static final long LINGER_MILLIS = 5000;
  private static final long RETRY_MILLIS = 1000;

  private final Vertx vertx;
  private final Exchange exchange;
  private final int maxBytes;
  private final BodyBudget budget;
  private final Consumer<Buffer> onBody;
  private Buffer body = Buffer.buffer();
  private final long timer;
  private long discarded;
  private boolean refused;
  private boolean ended;

  private RequestBody(
      Vertx vertx,
      Exchange exchange,
      int maxBytes,
      BodyBudget budget,
      long timeoutMillis,
      Consumer<Buffer> onBody) {
    this.vertx = vertx;
    this.exchange = exchange;
    this.maxBytes = maxBytes;
    this.budget = budget;
    this.onBody = onBody;
    this.timer = vertx.setTimer(timeoutMillis, id -> late());
  }

  /**
   * Reads the body; to be called while the request is being handled.
   *
   * @param onBody gets the whole body, and gives its length back to the budget; not called when the
   *     exchange was answered here
   */
  static void read(
      Vertx vertx,
      Exchange exchange,
      int maxBytes,
      BodyBudget budget,
      long timeoutMillis,
      Consumer<Buffer> onBody) {
    RequestBody reading = new RequestBody(vertx, exchange, maxBytes, budget, timeoutMillis, onBody);
    HttpServerRequest request = exchange.request();
    request.handler(reading::take);
    request.endHandler(end -> reading.end());
    request.exceptionHandler(cause -> reading.broken());
    String encoding = request.getHeader("content-encoding");
    if (declared(request) > maxBytes) {
      reading.refuse();
    } else if (encoding != null && !encoding.equalsIgnoreCase("identity")) {
      reading.refuse(
          Failures.of(
              ErrorCode.UNSUPPORTED_PARAMETER,
              "content-encoding: " + encoding + " (expected: identity, a body as it is)",
              "content-encoding"));
    } else if ("100-continue".equalsIgnoreCase(request.getHeader("expect"))) {
      request.response().writeContinue();
    }
  }

  private static long declared(HttpServerRequest request) {
    String length = request.getHeader("content-length");
    if (length == null) {
      return 0;
    }
    try {
      return Long.parseLong(length.strip());
    } catch (NumberFormatException e) {
      // The codec refuses what is no number; what is too long for one is too large.
      return Long.MAX_VALUE;
    }
  }

  private void take(Buffer chunk) {
    if (refused) {
      discarded += chunk.length();
      if (discarded > (long) LINGER_FACTOR * maxBytes) {
        exchange.request().connection().close();
      }
    } else if (body.length() + (long) chunk.length() > maxBytes) {
      refuse();
    } else if (!budget.take(chunk.length())) {
      refuse(
          Failures.retryable(
              ErrorCode.OVERLOADED,
              "body: too many bytes of requests arrive at once (expected: fewer)",
              RETRY_MILLIS));
    } else {
      body.appendBuffer(chunk);
    }
  }

  private void end() {
    vertx.cancelTimer(timer);
    if (!refused) {
      ended = true;
      onBody.accept(body);
    }
  }

  private void refuse() {
    refuse(
        Failures.of(
            ErrorCode.PAYLOAD_TOO_LARGE,
            "body: larger than " + maxBytes + " bytes (expected: <= " + maxBytes + ")"));
  }

  private void refuse(Failure failure) {
    drop();
    vertx.cancelTimer(timer);
    answer(failure);
    vertx.setTimer(LINGER_MILLIS, id -> exchange.request().connection().close());
  }

  /** The client left before its body was whole; an end that already was is not undone. */
  private void broken() {
    vertx.cancelTimer(timer);
    if (!ended) {
      drop();
    }
  }

  /** Whatever has come and may yet come is not wanted. */
  private void drop() {
    if (!refused) {
      refused = true;
      budget.give(body.length());
      body = Buffer.buffer();
    }
  }

  private void late() {
    drop();
    answer(
        Failures.of(ErrorCode.INVALID_REQUEST, "body: not complete in time (expected: all of it)"));
    vertx.setTimer(LINGER_MILLIS, id -> exchange.request().connection().close());
  }

  private void answer(Failure failure) {
    exchange.response().putHeader("connection", "close");
    exchange.fail(failure);
  }
}
