package dev.baton.device.reference;

import dev.baton.device.DType;
import dev.baton.device.LinearWeight;

/**
 * A weight shard as float32 values {@code [inputs, outputs]}, already rounded to {@code dtype}.
 *
 * @param borders of its canonical ranges, from its first input
 */
record ReferenceLinearWeight(int outputs, int inputs, DType dtype, int[] borders, float[] values)
    implements LinearWeight {}
