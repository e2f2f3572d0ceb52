package dev.baton.engine.model;

import dev.baton.device.LinearWeight;
import dev.baton.engine.EngineException;
import dev.baton.engine.checkpoint.Mixture;
import dev.baton.engine.checkpoint.ModelConfig;

/**
 * Which part of a model one rank holds. Column-parallel weights (query, key, value, gate, up,
 * output layer) are cut by rows, row-parallel ones (attention output, down) by columns, always at
 * {@code floor(rank * width / ranks)}: borders of the canonical partial sums for any number of
 * ranks.
 *
 * <p>Every rank has whole query heads. When there are more ranks than KV heads, neighbouring ranks
 * hold copies of one KV head.
 */
record Shard(ModelConfig config, int rank, int ranks) {

  /** Throws INVALID when the model cannot be cut into so many ranks. */
  static void check(ModelConfig config, int ranks) {
    if (config.heads() % ranks != 0) {
      throw refused(ranks, "a divisor of num_attention_heads, " + config.heads());
    }
    if (config.kvHeads() % ranks != 0 && ranks % config.kvHeads() != 0) {
      throw refused(ranks, "a divisor or a multiple of num_key_value_heads, " + config.kvHeads());
    }
    if (ranks > 1 && narrowest(config) < LinearWeight.PARTIALS) {
      throw refused(ranks, "1, for a width of %d".formatted(narrowest(config)));
    }
  }

  private static int narrowest(ModelConfig config) {
    int narrowest = Math.min(config.intermediateSize(), config.vocabularySize());
    Mixture mixture = config.mixture();
    return mixture == null ? narrowest : Math.min(narrowest, mixture.innerSize());
  }

  private static EngineException refused(int ranks, String expected) {
    return new EngineException(
        EngineException.Kind.INVALID,
        "tensorParallel: %d (expected: %s)".formatted(ranks, expected));
  }

  int heads() {
    return config.heads() / ranks;
  }

  int kvHeads() {
    return Math.max(1, config.kvHeads() / ranks);
  }

  /** The model-wide number of the first KV head here. */
  int kvHeadFrom() {
    return border(rank, config.kvHeads());
  }

  /** No rank of a lower number holds the same KV heads. */
  boolean firstHolder() {
    return rank == 0 || border(rank - 1, config.kvHeads()) != kvHeadFrom();
  }

  Range queries() {
    return even(config.heads() * config.headDim());
  }

  Range keys() {
    int from = kvHeadFrom() * config.headDim();
    return new Range(from, from + kvHeads() * config.headDim());
  }

  /** Of feed-forward parts that are no mixture. */
  Range inner() {
    return even(config.denseSize());
  }

  /** Of each expert of a mixture. */
  Range expertInner() {
    return even(config.mixture() == null ? 0 : config.mixture().innerSize());
  }

  Range vocabulary() {
    return even(config.vocabularySize());
  }

  private Range even(int width) {
    return new Range(border(rank, width), border(rank + 1, width));
  }

  private int border(int part, int width) {
    return (int) ((long) part * width / ranks);
  }

  /** Rows or columns {@code [from, to)}. */
  record Range(int from, int to) {
    int size() {
      return to - from;
    }
  }
}
