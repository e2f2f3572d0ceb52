package dev.baton.engine.model;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * One rank's working memory, allocated once for the largest step; all float32, one row a token.
 *
 * @param stream the residual stream {@code [tokens, hidden]}
 * @param normed a norm's output {@code [tokens, hidden]}
 * @param query {@code [tokens, heads * headDim]} of the rank
 * @param key {@code [tokens, kvHeads * headDim]} of the rank
 * @param value likewise
 * @param attended {@code [tokens, heads * headDim]} of the rank
 * @param delta what a block adds to the stream {@code [tokens, hidden]}
 * @param gated {@code [tokens, intermediate]} of the rank
 * @param mixture null for a model without one
 * @param last rows of the stream that need logits {@code [logitRows, hidden]}
 * @param logits {@code [logitRows, vocabulary]} of the rank; of a rank that is alone those of the
 *     model
 */
record Activations(
    Tensor stream,
    Tensor normed,
    Tensor query,
    Tensor key,
    Tensor value,
    Tensor attended,
    Tensor delta,
    Tensor gated,
    @Nullable MixtureActivations mixture,
    Tensor last,
    Tensor logits) {

  /**
   * @param logits of the model {@code [logitRows, vocabulary]}
   */
  static Activations allocate(Device device, Shard shard, int tokens, Tensor logits) {
    long logitRows = logits.rows();
    int hidden = shard.config().hiddenSize();
    return new Activations(
        device.allocate(DType.FLOAT32, tokens, hidden),
        device.allocate(DType.FLOAT32, tokens, hidden),
        device.allocate(DType.FLOAT32, tokens, shard.queries().size()),
        device.allocate(DType.FLOAT32, tokens, shard.keys().size()),
        device.allocate(DType.FLOAT32, tokens, shard.keys().size()),
        device.allocate(DType.FLOAT32, tokens, shard.queries().size()),
        device.allocate(DType.FLOAT32, tokens, hidden),
        device.allocate(DType.FLOAT32, tokens, shard.inner().size()),
        MixtureActivations.allocate(device, shard, tokens),
        device.allocate(DType.FLOAT32, logitRows, hidden),
        hasWholeVocabulary(shard)
            ? logits
            : device.allocate(DType.FLOAT32, logitRows, shard.vocabulary().size()));
  }

  private static boolean hasWholeVocabulary(Shard shard) {
    return shard.vocabulary().size() == shard.config().vocabularySize();
  }

  /** Bytes of {@link #allocate}. */
  static long bytes(Shard shard, int tokens, int logitRows) {
    long hidden = shard.config().hiddenSize();
    long perToken =
        3 * hidden + 2L * shard.queries().size() + 2L * shard.keys().size() + shard.inner().size();
    long perLogitRow = hidden + (hasWholeVocabulary(shard) ? 0 : shard.vocabulary().size());
    return MixtureActivations.bytes(shard, tokens)
        + (tokens * perToken + logitRows * perLogitRow) * Float.BYTES;
  }
}
