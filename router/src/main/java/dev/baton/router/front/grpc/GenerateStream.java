package dev.baton.router.front.grpc;

import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.inference.v1.GenerateResponse;
import dev.baton.proto.inference.v1.Usage;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.router.generation.Generation;
import dev.baton.router.generation.GenerationListener;
import dev.baton.router.generation.Piece;
import io.grpc.stub.ServerCallStreamObserver;
import org.jspecify.annotations.Nullable;

/**
 * One Generate call: writes the pieces of a continuation to the client. While the client cannot
 * take more, the continuation is paused; when the client is gone, it is cancelled.
 *
 * <p>The continuation may speak before {@link #running} is told of it; its lock keeps the two
 * threads apart.
 */
final class GenerateStream implements GenerationListener {

  private final ServerCallStreamObserver<GenerateResponse> client;
  private final GenerateResponse.Builder first = GenerateResponse.newBuilder();

  // Guarded by this.
  private @Nullable Generation generation;
  private boolean paused;
  private boolean gone;
  private boolean begun;

  /** To be made in the service method itself, where gRPC still takes handlers. */
  GenerateStream(ServerCallStreamObserver<GenerateResponse> client) {
    this.client = client;
    client.setOnCancelHandler(this::cancelled);
    client.setOnReadyHandler(this::ready);
  }

  /** Notes what the first message carries. */
  void begin(int[] promptTokens) {
    for (int id : promptTokens) {
      first.addPromptTokenIds(id);
    }
  }

  void running(Generation running) {
    boolean cancel;
    synchronized (this) {
      generation = running;
      cancel = gone;
    }
    if (cancel) {
      running.cancel();
    }
    throttle();
  }

  @Override
  public void onPiece(Piece piece) {
    client.onNext(message(piece).build());
    throttle();
  }

  @Override
  public void onFinished(Piece last, FinishReason reason, Usage usage) {
    client.onNext(message(last).setFinishReason(reason).setUsage(usage).build());
    client.onCompleted();
  }

  @Override
  public void onFailure(Failure failure) {
    InferenceService.fail(client, failure);
  }

  private GenerateResponse.Builder message(Piece piece) {
    GenerateResponse.Builder message = begun ? GenerateResponse.newBuilder() : first;
    begun = true;
    message.setText(piece.text());
    for (SampledToken token : piece.tokens()) {
      message.addTokenIds(token.getTokenId());
      if (token.hasLogprobs()) {
        message.addLogprobs(token.getLogprobs());
      }
    }
    return message;
  }

  private void cancelled() {
    Generation running;
    synchronized (this) {
      gone = true;
      running = generation;
    }
    if (running != null) {
      running.cancel();
    }
  }

  private void ready() {
    throttle();
  }

  /** Brings the continuation's pace in line with what the client can take. */
  private void throttle() {
    Generation running;
    boolean pause;
    synchronized (this) {
      pause = !client.isReady();
      running = generation;
      if (running == null || pause == paused) {
        return;
      }
      paused = pause;
      // Within the lock: two threads must not swap their orders.
      if (pause) {
        running.pause();
      } else {
        running.resume();
      }
    }
  }
}
