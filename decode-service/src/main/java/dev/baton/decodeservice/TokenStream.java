package dev.baton.decodeservice;

import dev.baton.engine.EngineException;
import dev.baton.engine.SampledToken;
import dev.baton.engine.SessionListener;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.SessionFinished;
import dev.baton.worker.session.Session;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.Tokens;

/**
 * A session's tokens from the engine into its stream, up to its end. Step thread.
 *
 * @param onEnd releases what the session holds and lets it leave
 */
record TokenStream(Session<DecodeEvent> session, Runnable onEnd) implements SessionListener {

  @Override
  public void onToken(SampledToken token) {
    session.send(DecodeEvent.newBuilder().setToken(Tokens.write(token, 0)).build());
    SampledToken.FinishReason finish = token.finish();
    if (finish != null) {
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
