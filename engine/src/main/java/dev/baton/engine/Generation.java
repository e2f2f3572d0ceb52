package dev.baton.engine;

import java.util.Arrays;

/**
 * What a session has to generate. The arrays are owned by the record; nobody changes them
 * afterwards.
 *
 * @param prompt token ids, not empty, each within the vocabulary
 * @param generated tokens that an earlier attempt has already generated; computed like prompt
 *     tokens, and sampling goes on at their count
 * @param cacheSalt prefixes are shared between sessions of equal salt only
 * @param priority larger runs first
 */
public record Generation(
    SessionId session,
    int[] prompt,
    int[] generated,
    Sampling sampling,
    String cacheSalt,
    int priority) {

  public Generation {
    if (prompt.length == 0) {
      throw new IllegalArgumentException("prompt: empty (expected: at least one token id)");
    }
    if (generated.length >= sampling.maxTokens()) {
      throw new IllegalArgumentException(
          "generated: %d tokens (expected: fewer than maxTokens, %d)"
              .formatted(generated.length, sampling.maxTokens()));
    }
  }

  public static Generation of(SessionId session, int[] prompt, Sampling sampling) {
    return new Generation(session, prompt.clone(), new int[0], sampling, "", 0);
  }

  /** Tokens whose KV is needed before the next token can be sampled. */
  public int contextTokens() {
    return prompt.length + generated.length;
  }

  /** Prompt and generated tokens as one array. */
  public int[] context() {
    int[] all = Arrays.copyOf(prompt, contextTokens());
    System.arraycopy(generated, 0, all, prompt.length, generated.length);
    return all;
  }
}
