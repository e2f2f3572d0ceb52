package dev.baton.device;

/**
 * A root-mean-square norm over whole rows that stands before a product: {@code x / sqrt(mean(x^2) +
 * epsilon) * weight}.
 *
 * @param weight {@code [1, inputs]} float32
 */
public record Norm(Tensor weight, float epsilon) {}
