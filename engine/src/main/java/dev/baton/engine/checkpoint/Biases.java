package dev.baton.engine.checkpoint;

/**
 * Which products of every layer have a bias.
 *
 * @param projections query, key and value
 * @param attentionOutput the product after attention
 * @param feedForward gate, up and down; never in a mixture's experts
 */
public record Biases(boolean projections, boolean attentionOutput, boolean feedForward) {}
