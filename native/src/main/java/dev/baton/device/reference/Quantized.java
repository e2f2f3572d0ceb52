package dev.baton.device.reference;

import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;

/** Quantized weights and inputs, and their products, as the exactness rules spell them out. */
final class Quantized {

  /** Smaller magnitudes count as 0, so that reciprocals are finite. */
  private static final float LEAST = 0x1p-100f;

  private static final int GROUP = WeightFormat.INT4_GROUP;

  /** Largest magnitude of an input, or of a weight of eight bits. */
  private static final float LARGEST = 127f;

  /** Largest factor of a group of four bits. */
  private static final int MOST_FACTOR = 15;

  /** Largest magnitude of a weight of four bits, times its factor. */
  private static final float LARGEST_LEVEL = 8f * MOST_FACTOR;

  /** Factors that are tried, from the nearest. */
  private static final int[] NEAR = {0, 1, -1};

  private Quantized() {}

  static ReferenceLinearWeight pack(WeightSlice slice, WeightFormat format, int[] borders) {
    int outputs = slice.rowTo() - slice.rowFrom();
    int inputs = slice.columnTo() - slice.columnFrom();
    float[] values = new float[Math.multiplyExact(outputs, inputs)];
    float[] scales = new float[outputs];
    for (int o = 0; o < outputs; o++) {
      float[] row = new float[slice.columns()];
      for (int c = 0; c < row.length; c++) {
        row[c] = ReferenceDevice.value(slice, slice.rowFrom() + o, c);
      }
      float largest = largest(row, 0, row.length);
      if (format == WeightFormat.INT8) {
        scales[o] = scale(largest, LARGEST);
        for (int k = 0; k < inputs; k++) {
          values[k * outputs + o] = round(row[slice.columnFrom() + k] * inverse(largest, LARGEST));
        }
        continue;
      }
      scales[o] = scale(largest, LARGEST_LEVEL);
      for (int range = 0; range + 1 < borders.length; range++) {
        for (int k = borders[range]; k < borders[range + 1]; k += GROUP) {
          int from = slice.columnFrom() + k;
          int n = Math.min(GROUP, borders[range + 1] - k);
          float factor = factor(row, from, from + n, inverse(largest, LARGEST_LEVEL), scales[o]);
          for (int i = 0; i < n; i++) {
            // A product of 0 has no sign, as integers have none.
            values[(k + i) * outputs + o] = level(row[from + i], factor * scales[o]) * factor + 0f;
          }
        }
      }
    }
    return new ReferenceLinearWeight(outputs, inputs, format, borders, values, scales);
  }

  /** Sums of one row of inputs over one range, by output. */
  static float[] range(float[] row, ReferenceLinearWeight weight, int range) {
    int from = weight.borders()[range];
    int to = weight.borders()[range + 1];
    float largest = largest(row, from, to);
    int[] dots = dots(row, from, to, largest, weight);
    float[] sums = new float[weight.outputs()];
    for (int o = 0; o < sums.length; o++) {
      sums[o] = dots[o] * (scale(largest, LARGEST) * weight.scales()[o]);
    }
    return sums;
  }

  private static int[] dots(
      float[] row, int from, int to, float largest, ReferenceLinearWeight weight) {
    int[] dots = new int[weight.outputs()];
    for (int k = from; k < to; k++) {
      int x = Float.isNaN(largest) ? 0 : (int) round(row[k] * inverse(largest, LARGEST));
      int at = k * dots.length;
      for (int o = 0; o < dots.length; o++) {
        dots[o] += x * (int) weight.values()[at + o];
      }
    }
    return dots;
  }

  /** The largest magnitude; NaN when one element is infinite or no number. */
  private static float largest(float[] values, int from, int to) {
    float largest = 0f;
    for (int i = from; i < to; i++) {
      if (!Float.isFinite(values[i])) {
        return Float.NaN;
      }
      largest = Math.max(largest, Math.abs(values[i]));
    }
    return largest;
  }

  private static float scale(float largest, float most) {
    return largest < LEAST ? 0f : largest / most;
  }

  private static float inverse(float largest, float most) {
    return largest < LEAST ? 0f : most / largest;
  }

  /** To the nearest integer, ties to even; integers have no negative zero. */
  private static float round(float value) {
    return (float) Math.rint(value) + 0f;
  }

  /** The factor of least squared error; the first of those that are equal. */
  private static float factor(float[] row, int from, int to, float inverse, float scale) {
    float extreme = 0f;
    for (int i = from; i < to; i++) {
      extreme = Math.abs(row[i]) > Math.abs(extreme) ? row[i] : extreme;
    }
    float near = round(Math.abs(extreme) * inverse * 0.125f);
    float best = Float.NaN;
    float leastError = Float.NaN;
    for (int more : NEAR) {
      float size = Math.clamp(near + more, 1f, MOST_FACTOR);
      float factor = extreme > 0 ? -size : size;
      float width = factor * scale;
      float error = 0f;
      for (int i = from; i < to; i++) {
        float rest = Math.fma(-level(row[i], width), width, row[i]);
        error = Math.fma(rest, rest, error);
      }
      if (Float.isNaN(best) || error < leastError) {
        best = factor;
        leastError = error;
      }
    }
    return best;
  }

  /** From -8 to 7. */
  private static float level(float value, float width) {
    return width == 0f ? 0f : Math.clamp(round(value * (1f / width)), -8f, 7f);
  }
}
