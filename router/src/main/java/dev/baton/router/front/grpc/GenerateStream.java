package dev.baton.router.front.grpc;

import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.GenerateResponse;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.router.generation.Ending;
import dev.baton.router.generation.Generation;
import dev.baton.router.generation.GenerationListener;
import dev.baton.router.generation.Piece;
import io.grpc.stub.ServerCallStreamObserver;
import java.util.ArrayList;
import java.util.List;

/**
 * One Generate call: writes the pieces of its continuations to the client. While the client cannot
 * take more, they are paused; when the client is gone, they are cancelled, and when one fails, so
 * are the others.
 *
 * <p>Continuations speak from threads of their own, and before {@link #running} is told of them;
 * the lock keeps all that apart.
 */
final class GenerateStream {

  private final ServerCallStreamObserver<GenerateResponse> client;
  private final List<Integer> promptTokens = new ArrayList<>();

  // Guarded by this.
  private final List<Generation> generations = new ArrayList<>();
  private int unfinished;
  private boolean paused;
  private boolean gone;

  /** To be made in the service method itself, where gRPC still takes handlers. */
  GenerateStream(ServerCallStreamObserver<GenerateResponse> client) {
    this.client = client;
    client.setOnCancelHandler(this::cancelled);
    client.setOnReadyHandler(this::ready);
  }

  /** Notes what the first messages carry, and how many continuations there will be. */
  synchronized void begin(int[] prompt, int continuations) {
    for (int id : prompt) {
      promptTokens.add(id);
    }
    unfinished = continuations;
  }

  /** Hears continuation {@code index}. */
  GenerationListener listener(int index) {
    return new Continuation(index);
  }

  void running(Generation running) {
    boolean cancel;
    synchronized (this) {
      generations.add(running);
      cancel = gone;
      if (paused) {
        running.pause();
      }
    }
    if (cancel) {
      running.cancel();
    }
    throttle();
  }

  private final class Continuation implements GenerationListener {

    private final int index;
    private boolean begun;

    Continuation(int index) {
      this.index = index;
    }

    @Override
    public void onPiece(Piece piece) {
      write(message(piece));
      throttle();
    }

    @Override
    public void onFinished(Piece last, Ending ending) {
      GenerateResponse.Builder message =
          message(last).setFinishReason(ending.reason()).setUsage(ending.usage());
      if (ending.stopString() != null) {
        message.setStopString(ending.stopString());
      } else if (ending.stopTokenId() != null) {
        message.setStopTokenId(ending.stopTokenId());
      }
      finish(message);
    }

    @Override
    public void onFailure(Failure failure) {
      fail(failure);
    }

    private GenerateResponse.Builder message(Piece piece) {
      GenerateResponse.Builder message =
          GenerateResponse.newBuilder().setIndex(index).setText(piece.text());
      if (!begun) {
        begun = true;
        message.addAllPromptTokenIds(promptTokens);
      }
      for (SampledToken token : piece.tokens()) {
        message.addTokenIds(token.getTokenId());
        if (token.hasLogprobs()) {
          message.addLogprobs(token.getLogprobs());
        }
        if (token.hasPromptLogprobs()) {
          message.setPromptLogprobs(token.getPromptLogprobs());
        }
      }
      return message;
    }
  }

  private synchronized void write(GenerateResponse.Builder message) {
    if (!gone) {
      client.onNext(message.build());
    }
  }

  private synchronized void finish(GenerateResponse.Builder message) {
    if (!gone) {
      client.onNext(message.build());
      if (--unfinished == 0) {
        client.onCompleted();
      }
    }
  }

  /** The call ends with the failure; what else runs for it is cancelled. */
  void fail(Failure failure) {
    List<Generation> running;
    synchronized (this) {
      if (gone) {
        return;
      }
      gone = true;
      running = List.copyOf(generations);
      InferenceService.fail(client, failure);
    }
    running.forEach(Generation::cancel);
  }

  private void cancelled() {
    List<Generation> running;
    synchronized (this) {
      gone = true;
      running = List.copyOf(generations);
    }
    running.forEach(Generation::cancel);
  }

  private void ready() {
    throttle();
  }

  /** Brings the continuations' pace in line with what the client can take. */
  private void throttle() {
    synchronized (this) {
      boolean pause = !client.isReady();
      if (generations.isEmpty() || pause == paused) {
        return;
      }
      paused = pause;
      // Within the lock: two threads must not swap their orders.
      if (pause) {
        generations.forEach(Generation::pause);
      } else {
        generations.forEach(Generation::resume);
      }
    }
  }
}
