package dev.baton.device.reference;

import dev.baton.device.LinearWeight;
import dev.baton.device.WeightFormat;

/**
 * A weight shard as float32 values {@code [inputs, outputs]}, already rounded to {@code format}; of
 * quantized formats the integers.
 *
 * @param borders of its canonical ranges, from its first input
 * @param scales of quantized formats {@code [outputs]}, else empty
 */
record ReferenceLinearWeight(
    int outputs, int inputs, WeightFormat format, int[] borders, float[] values, float[] scales)
    implements LinearWeight {

  /** The weights of one output. */
  float[] row(int output) {
    float[] row = new float[inputs];
    for (int k = 0; k < inputs; k++) {
      float value = values[k * outputs + output];
      row[k] =
          switch (format) {
            case FLOAT32, BFLOAT16 -> value;
            case INT8, INT4 -> value * scales[output];
          };
    }
    return row;
  }
}
