package dev.baton.engine.model;

import dev.baton.device.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What all ranks of a host device read alike.
 *
 * @param embedding {@code [vocabulary, hidden]}; null when the ranks' output layers serve as it
 * @param inputNorms by layer, {@code [1, hidden]} float32
 * @param queryNorms by layer, {@code [1, headDim]} float32; empty in families without
 * @param keyNorms likewise
 * @param postAttentionNorms by layer, {@code [1, hidden]} float32
 * @param finalNorm {@code [1, hidden]} float32
 */
record SharedWeights(
    @Nullable Tensor embedding,
    List<Tensor> inputNorms,
    List<Tensor> queryNorms,
    List<Tensor> keyNorms,
    List<Tensor> postAttentionNorms,
    Tensor finalNorm,
    RotaryTable rotary) {}
