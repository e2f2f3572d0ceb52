package dev.baton.decodeservice;

import dev.baton.engine.EngineException;
import dev.baton.engine.SampledToken;
import dev.baton.engine.SessionListener;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.SessionFinished;
import dev.baton.worker.session.Session;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.Tokens;

/** A session's tokens from the engine into its stream, up to its end. Step thread. */
final class TokenStream implements SessionListener {

  private final Session<DecodeEvent> session;
  private final int firstIndex;
  private final Runnable onDecoded;
  private final Runnable onEnd;
  private int cachedTokens;

  /**
   * @param firstIndex index of the first token that is this stream's to send; earlier ones are
   *     computed, and sent by another
   * @param onDecoded called after each token but the last
   * @param onEnd called when the stream has ended
   */
  TokenStream(Session<DecodeEvent> session, int firstIndex, Runnable onDecoded, Runnable onEnd) {
    this.session = session;
    this.firstIndex = firstIndex;
    this.onDecoded = onDecoded;
    this.onEnd = onEnd;
  }

  @Override
  public void onAdmitted(int tokens) {
    cachedTokens = tokens;
  }

  @Override
  public void onToken(SampledToken token) {
    if (token.index() >= firstIndex) {
      session.send(DecodeEvent.newBuilder().setToken(Tokens.write(token, cachedTokens)).build());
    }
    SampledToken.FinishReason finish = token.finish();
    if (finish == null) {
      onDecoded.run();
    } else {
      session.end(
          DecodeEvent.newBuilder()
              .setFinished(
                  SessionFinished.newBuilder()
                      .setReason(Tokens.reason(finish))
                      .setPromptTokens(session.generation().prompt().length)
                      .setGeneratedTokens(token.index() + 1))
              .build());
      onEnd.run();
    }
  }

  @Override
  public void onFailed(EngineException cause) {
    session.fail(Failures.of(cause));
    onEnd.run();
  }
}
