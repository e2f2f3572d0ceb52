package dev.baton.device;

import org.jspecify.annotations.Nullable;

/**
 * One of several products of the same inputs, see {@link Ops#linear(java.util.List, Tensor, Norm,
 * int)}. Made once at load and then used in every step.
 *
 * @param out float32, at least {@code [rows, weight.outputs()]}
 * @param bias {@code [1, outputs]} float32, added last
 */
public record Projection(Tensor out, LinearWeight weight, @Nullable Tensor bias) {}
