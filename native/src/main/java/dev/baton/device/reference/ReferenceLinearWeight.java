package dev.baton.device.reference;

import dev.baton.device.LinearWeight;
import dev.baton.device.WeightFormat;

/**
 * A weight shard as float32 values {@code [inputs, outputs]}, already rounded to {@code format}.
 *
 * @param borders of its canonical ranges, from its first input
 */
record ReferenceLinearWeight(
    int outputs, int inputs, WeightFormat format, int[] borders, float[] values)
    implements LinearWeight {}
