package dev.baton.router.session;

import dev.baton.proto.worker.v1.SampledToken;
import java.util.Arrays;

/**
 * The tokens that a session has delivered, in order: what it takes to continue the session on
 * another worker. Not thread-safe.
 */
final class TokenLog {

  private int[] ids = new int[32];
  private int size;
  private int cachedPromptTokens;

  /** Appends the token of the next index. */
  void add(SampledToken token) {
    if (token.getIndex() != size) {
      throw new IllegalStateException("index: " + token.getIndex() + " (expected: " + size + ")");
    }
    if (size == 0) {
      cachedPromptTokens = token.getCachedTokens();
    }
    if (size == ids.length) {
      ids = Arrays.copyOf(ids, 2 * size);
    }
    ids[size++] = token.getTokenId();
  }

  int size() {
    return size;
  }

  boolean isEmpty() {
    return size == 0;
  }

  int[] ids() {
    return Arrays.copyOf(ids, size);
  }

  /** Prompt tokens that came from a prefix cache, as token 0 told. */
  int cachedPromptTokens() {
    return cachedPromptTokens;
  }
}
