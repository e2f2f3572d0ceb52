package dev.baton.bench.verify;

import dev.baton.bench.quality.QualityPlan.Source;
import dev.baton.engine.EngineOptions;
import org.jspecify.annotations.Nullable;

/**
 * What {@code baton verify} compares.
 *
 * @param prefill the worker that computes prompts; its context length and KV memory are chosen here
 * @param decode the worker that decodes, likewise
 * @param source where prompts come from; null = lengths around every border (blocks, tiles, chunks)
 *     up to the longest, of the texts that come with the program, or of random tokens where there
 *     is no tokenizer
 * @param longest tokens of a prompt at most
 * @param tokens generated per session, at least 2
 * @param seed of random prompts and of sampling
 */
public record VerifyPlan(
    EngineOptions prefill,
    EngineOptions decode,
    @Nullable Source source,
    int longest,
    int tokens,
    long seed) {

  public VerifyPlan {
    if (longest < 1) {
      throw new IllegalArgumentException("longest: %d (expected: >= 1)".formatted(longest));
    }
    if (tokens < 2) {
      throw new IllegalArgumentException("max-tokens: %d (expected: >= 2)".formatted(tokens));
    }
  }
}
