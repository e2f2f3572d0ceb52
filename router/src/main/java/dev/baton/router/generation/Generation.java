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

  private final PreparedRequest prepared;
  private final TextStream text;
  private final GenerationListener listener;
  private final GenerationObserver observer;
  private @Nullable Session session;

  // Touched by the session's serial context alone.
  private Piece last = NOTHING;
  private @Nullable Integer stopTokenId;
  private int completionTokens;
  private int cachedTokens;
  private boolean stopped;

  Generation(
      PreparedRequest prepared,
      TextStream text,
      GenerationListener listener,
      GenerationObserver observer) {
    this.prepared = prepared;
    this.text = text;
    this.listener = listener;
    this.observer = observer;
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
      observer.begun(model(), prepared.promptTokens().length, cachedTokens);
    }
    completionTokens++;
    // The token that ends the sequence is no part of the text, even if it is no special token.
    boolean ends = token.getFinishReason() == FinishReason.STOP;
    Piece piece = new Piece(ends ? "" : append(token.getTokenId()), List.of(token));
    if (text.stopString() != null) {
      stopped = true;
      session().stop();
      finished(piece, FinishReason.STOP);
    } else if (token.getFinishReason() != FinishReason.FINISH_REASON_UNSPECIFIED) {
      // The finish follows at once and goes out with it.
      last = piece;
      stopTokenId = ends && isStopToken(token.getTokenId()) ? token.getTokenId() : null;
    } else {
      listener.onPiece(piece);
    }
  }

  /** The first min_tokens are no part of a stop string, either. */
  private String append(int tokenId) {
    return completionTokens <= prepared.request().sampling().getMinTokens()
        ? text.appendUnwatched(tokenId)
        : text.append(tokenId);
  }

  private boolean isStopToken(int tokenId) {
    return prepared.request().sampling().getStopTokenIdsList().contains(tokenId);
  }

  @Override
  public void onFinished(FinishReason reason) {
    if (!stopped) {
      Piece ending = new Piece(last.text() + text.finish(), last.tokens());
      // An unfinished character may have completed a stop string.
      finished(ending, text.stopString() == null ? reason : FinishReason.STOP);
    }
  }

  private void finished(Piece ending, FinishReason reason) {
    Usage usage = usage();
    observer.finished(model(), usage, prepared.request().sampling().getMaxTokens());
    listener.onFinished(ending, new Ending(reason, text.stopString(), stopTokenId, usage));
  }

  @Override
  public void onFailure(Failure failure) {
    if (!stopped) {
      listener.onFailure(failure);
    }
  }

  private Usage usage() {
    Usage.Builder usage =
        Usage.newBuilder()
            .setPromptTokens(prepared.promptTokens().length)
            .setCompletionTokens(completionTokens)
            .setCachedTokens(cachedTokens);
    double joules = session().joules();
    if (joules >= 0) {
      usage.setJoules(joules);
    }
    return usage.build();
  }

  private String model() {
    return prepared.model().name();
  }

  private Session session() {
    return Objects.requireNonNull(session, "started");
  }
}
