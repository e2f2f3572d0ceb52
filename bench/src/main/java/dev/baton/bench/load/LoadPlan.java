package dev.baton.bench.load;

import dev.baton.bench.FormatChoice;
import java.nio.file.Path;

/**
 * What {@code baton bench load} measures.
 *
 * @param model a Hugging Face model directory with weights
 * @param contextLength 0 = the model's
 * @param kvCacheBytes 0 = one session of full length
 * @param repeats loads, one after another
 */
public record LoadPlan(
    Path model,
    FormatChoice format,
    int tensorParallel,
    int contextLength,
    long kvCacheBytes,
    int repeats) {

  public LoadPlan {
    if (repeats < 1 || contextLength < 0 || kvCacheBytes < 0) {
      throw new IllegalArgumentException(
          "repeat: %d, context: %d, kv: %d (expected: >= 1, >= 0, >= 0)"
              .formatted(repeats, contextLength, kvCacheBytes));
    }
  }
}
