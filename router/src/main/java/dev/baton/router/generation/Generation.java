package dev.baton.router.generation;

import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.inference.v1.Usage;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.router.session.Session;
import dev.baton.router.session.SessionListener;
import dev.baton.router.text.TextStream;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A running continuation: turns the tokens of its session into text and ends the session at a stop
 * string. The public methods may be called from any thread.
 */
public final class Generation implements SessionListener {

  private static final Piece NOTHING = new Piece("", List.of());

  private final int promptTokens;
  private final TextStream text;
  private final GenerationListener listener;
  private @Nullable Session session;

  // Touched by the session's serial context alone.
  private Piece last = NOTHING;
  private int completionTokens;
  private int cachedTokens;
  private boolean stopped;

  Generation(int promptTokens, TextStream text, GenerationListener listener) {
    this.promptTokens = promptTokens;
    this.text = text;
    this.listener = listener;
  }

  /** To be called once, before anybody else knows of the generation. */
  void start(Session started) {
    session = started;
    started.start();
  }

  /** The client is gone: frees everything at once; the listener hears nothing more. */
  public void cancel() {
    session().cancel();
  }

  /** The listener can take no more for now; a few pieces may still come. */
  public void pause() {
    session().pause();
  }

  public void resume() {
    session().resume();
  }

  @Override
  public void onToken(SampledToken token) {
    if (stopped) {
      return;
    }
    if (completionTokens == 0) {
      cachedTokens = token.getCachedTokens();
    }
    completionTokens++;
    Piece piece = new Piece(text.append(token.getTokenId()), List.of(token));
    if (text.stopped()) {
      stopped = true;
      session().stop();
      listener.onFinished(piece, FinishReason.STOP, usage());
    } else if (token.getFinishReason() != FinishReason.FINISH_REASON_UNSPECIFIED) {
      // The finish follows at once and goes out with it.
      last = piece;
    } else {
      listener.onPiece(piece);
    }
  }

  @Override
  public void onFinished(FinishReason reason) {
    if (!stopped) {
      listener.onFinished(new Piece(last.text() + text.finish(), last.tokens()), reason, usage());
    }
  }

  @Override
  public void onFailure(Failure failure) {
    if (!stopped) {
      listener.onFailure(failure);
    }
  }

  private Usage usage() {
    return Usage.newBuilder()
        .setPromptTokens(promptTokens)
        .setCompletionTokens(completionTokens)
        .setCachedTokens(cachedTokens)
        .build();
  }

  private Session session() {
    return Objects.requireNonNull(session, "started");
  }
}
