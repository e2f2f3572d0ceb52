package dev.baton.engine;

/**
 * Hears what happens to one session. Called on the step thread, between steps; must not block and
 * must not throw. After a token with a finish reason, or after {@link #onFailed}, no more calls
 * come; after {@link Engine#release} none either.
 */
public interface SessionListener {

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
