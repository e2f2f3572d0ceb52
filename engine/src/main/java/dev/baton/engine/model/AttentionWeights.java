package dev.baton.engine.model;

import dev.baton.device.LinearWeight;
import dev.baton.device.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * One rank's weights of one layer's attention.
 *
 * @param queryBias {@code [1, heads * headDim]} of the rank, null in models without
 * @param keyBias {@code [1, kvHeads * headDim]} likewise
 * @param valueBias {@code [1, kvHeads * headDim]} likewise
 * @param outputBias {@code [1, hidden]}, null in models without
 * @param queryNorm {@code [1, headDim]}, null in families without
 * @param keyNorm likewise
 */
record AttentionWeights(
    LinearWeight query,
    LinearWeight key,
    LinearWeight value,
    LinearWeight output,
    @Nullable Tensor queryBias,
    @Nullable Tensor keyBias,
    @Nullable Tensor valueBias,
    @Nullable Tensor outputBias,
    @Nullable Tensor queryNorm,
    @Nullable Tensor keyNorm) {}
