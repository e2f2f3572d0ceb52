package dev.baton.engine;

import java.util.List;

/**
 * How the next tokens are chosen. The draw at generated index {@code i} depends on {@code (seed,
 * i)} and the logits alone, so any worker can go on with any session.
 *
 * @param maxTokens generated tokens at most, >= 1
 * @param temperature 0 = greedy (the smallest id wins a tie)
 * @param topK 0 = all
 * @param topP in (0, 1]
 * @param logprobs likeliest tokens to report with each token, 0 to 20; -1 = no log probabilities at
 *     all
 * @param ignoreEos the model's end-of-sequence tokens do not end the session; {@code stopTokenIds}
 *     still do
 * @param stopTokenIds more ids that end the session
 */
public record Sampling(
    int maxTokens,
    float temperature,
    int topK,
    float topP,
    long seed,
    int logprobs,
    boolean ignoreEos,
    List<Integer> stopTokenIds) {

  /** Most likely tokens that can be reported with each token. */
  public static final int MAX_LOGPROBS = 20;

  public Sampling {
    if (maxTokens < 1) {
      throw new IllegalArgumentException("maxTokens: %d (expected: >= 1)".formatted(maxTokens));
    }
    if (!(temperature >= 0f && temperature < Float.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException("temperature: %s (expected: >= 0)".formatted(temperature));
    }
    if (topK < 0) {
      throw new IllegalArgumentException("topK: %d (expected: >= 0)".formatted(topK));
    }
    if (!(topP > 0f && topP <= 1f)) {
      throw new IllegalArgumentException("topP: %s (expected: 0 < topP <= 1)".formatted(topP));
    }
    if (logprobs < -1 || logprobs > MAX_LOGPROBS) {
      throw new IllegalArgumentException(
          "logprobs: %d (expected: -1 to %d)".formatted(logprobs, MAX_LOGPROBS));
    }
    stopTokenIds = List.copyOf(stopTokenIds);
  }

  public static Sampling greedy(int maxTokens) {
    return new Sampling(maxTokens, 0f, 0, 1f, 0, -1, false, List.of());
  }
}
