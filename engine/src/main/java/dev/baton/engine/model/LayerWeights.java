package dev.baton.engine.model;

import dev.baton.device.Tensor;

/** One rank's weights of one layer; norms are whole and shared by the ranks of a host device. */
record LayerWeights(
    Tensor inputNorm,
    AttentionWeights attention,
    Tensor postAttentionNorm,
    FeedForwardWeights feedForward) {}
