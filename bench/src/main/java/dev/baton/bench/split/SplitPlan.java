package dev.baton.bench.split;

import java.util.List;

/**
 * What {@code baton bench split} runs.
 *
 * @param shape of the model; see {@link dev.baton.bench.Shape#open}
 * @param prompts lengths in tokens
 * @param rounds of each length; a round is one session of each kind
 */
public record SplitPlan(String shape, List<Integer> prompts, int rounds) {

  public SplitPlan {
    prompts = List.copyOf(prompts);
    if (prompts.isEmpty() || prompts.stream().anyMatch(tokens -> tokens < 1)) {
      throw new IllegalArgumentException(
          "prompt: %s (expected: lengths of at least 1)".formatted(prompts));
    }
    if (rounds < 1) {
      throw new IllegalArgumentException("rounds: %d (expected: >= 1)".formatted(rounds));
    }
  }

  int longest() {
    return prompts.stream().mapToInt(Integer::intValue).max().orElseThrow();
  }

  /** Positions of the longest session, and the next block's. */
  int context() {
    return longest() + 64;
  }
}
