package dev.baton.router.front.rest;

import dev.baton.proto.errors.v1.Failure;
import dev.baton.router.generation.Piece;
import dev.baton.router.generation.PreparedRequest;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpServerResponse;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ObjectNode;

/**
 * A reply as server-sent events. The head goes out with the first chunk, so that whatever fails
 * before it is answered with a status of its own; what fails later is an error event, after which
 * the connection ends without [DONE].
 *
 * <p>While the client does not read, the continuations are paused; one that reads nothing for too
 * long is cut off.
 */
final class StreamedReply extends Reply {

  private static final byte[] DATA = "data: ".getBytes(StandardCharsets.US_ASCII);
  private static final byte[] END = "\n\n".getBytes(StandardCharsets.US_ASCII);
  private static final byte[] DONE = "data: [DONE]\n\n".getBytes(StandardCharsets.US_ASCII);

  private final Vertx vertx;
  private final long stallMillis;
  private boolean begun;
  private boolean paused;
  private long stallTimer;

  StreamedReply(
      Exchange exchange,
      ReplyFormat format,
      List<PreparedRequest> prompts,
      Vertx vertx,
      long stallMillis) {
    super(exchange, format, prompts);
    this.vertx = vertx;
    this.stallMillis = stallMillis;
  }

  @Override
  void piece(Choice choice, Piece piece) {
    open(choice);
    write(format.chunk(choice, piece, null));
  }

  @Override
  void finished(Choice choice, Piece last) {
    open(choice);
    write(format.chunk(choice, last, choice.ending));
  }

  @Override
  void complete() {
    if (format.request.includeUsage()) {
      write(format.usageChunk(choices));
    }
    settle();
    if (!exchange.over()) {
      exchange.response().end(Buffer.buffer(DONE));
    }
  }

  @Override
  void broken(Failure failure) {
    settle();
    if (!begun) {
      exchange.fail(failure);
    } else if (!exchange.over()) {
      exchange
          .response()
          .end(event(Exchange.error(failure)))
          .onComplete(written -> exchange.request().connection().close());
    }
  }

  /** Sends the head, and a choice's first chunk. */
  private void open(Choice choice) {
    if (!begun) {
      begun = true;
      exchange
          .response()
          .setChunked(true)
          .putHeader("content-type", "text/event-stream; charset=utf-8")
          .putHeader("cache-control", "no-cache")
          // Proxies that gather output would hold the tokens back.
          .putHeader("x-accel-buffering", "no");
    }
    if (!choice.opened) {
      choice.opened = true;
      write(format.opening(choice));
    }
  }

  private void write(@Nullable ObjectNode chunk) {
    HttpServerResponse response = exchange.response();
    if (chunk == null || exchange.over()) {
      return;
    }
    response.write(event(chunk));
    if (!paused && response.writeQueueFull()) {
      paused = true;
      pause();
      stallTimer = vertx.setTimer(stallMillis, id -> stalled());
      response.drainHandler(drained -> drained());
    }
  }

  private void drained() {
    if (paused) {
      settle();
      resume();
    }
  }

  private void stalled() {
    cancel();
    exchange.request().connection().close();
  }

  private void settle() {
    if (paused) {
      paused = false;
      vertx.cancelTimer(stallTimer);
    }
  }

  private static Buffer event(ObjectNode json) {
    return Buffer.buffer().appendBytes(DATA).appendBytes(ReplyFormat.bytes(json)).appendBytes(END);
  }
}
