package dev.baton.engine;

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

  /** A token was sampled. */
  void onToken(SampledToken token);

  /** The session cannot go on; its blocks are free already. */
  void onFailed(EngineException cause);
}
