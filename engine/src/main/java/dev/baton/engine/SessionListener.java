package dev.baton.engine;

import dev.baton.engine.SampledToken.FinishReason;
import org.jspecify.annotations.Nullable;

/**
 * Hears what happens to one session. Called on the step thread, between steps; must not block and
 * must not throw. After a token with a finish reason, or after {@link #onFailed}, no more calls
 * come; after {@link Engine#release} none either.
 */
public interface SessionListener {

  /**
   * The first step of the session is done. Called once, before anything else, for sessions of
   * {@link Engine#generate} and {@link Engine#prefill}.
   *
   * @param cachedTokens leading context tokens that came from the prefix cache
   */
  default void onAdmitted(int cachedTokens) {}

  /**
   * The KV of context tokens {@code [0, tokens)} is in blocks and may be packed. Called for
   * prefill-only sessions after each chunk, before {@link #onToken} for the last one; the first
   * call counts what came from the prefix cache.
   */
  default void onComputed(int tokens) {}

  /**
   * A token was sampled of which nothing more is to be told. Who does not keep it overrides this,
   * so that a token makes no object.
   *
   * @param index position among the session's generated tokens, from 0
   * @param finish set when this token ends the session
   */
  default void onToken(int id, int index, @Nullable FinishReason finish) {
    onToken(new SampledToken(id, index, null, finish));
  }

  /** A token was sampled that has log probabilities, or any where the other method is as it is. */
  void onToken(SampledToken token);

  /** The session cannot go on; its blocks are free already. */
  void onFailed(EngineException cause);
}
