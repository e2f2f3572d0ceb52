package dev.baton.device.reference;

import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.device.host.Bf16;

/** Quantized weights and inputs, and their products, as the exactness rules spell them out. */
final class Quantized {

  /** Smaller magnitudes count as 0, so that reciprocals are finite. */
  private static final float LEAST = 0x1p-100f;

  private static final int GROUP = WeightFormat.INT4_GROUP;

  /** Largest magnitude of an input, or of a weight of eight bits. */
  private static final float LARGEST = 127f;

  /** By what the element of largest magnitude of a group is divided to make a scale. */
  private static final float[] DIVISORS = {8f, 7.5f, 7f, 8.5f, 9f, 9.5f, 10f, 11f};

  private Quantized() {}

  static ReferenceLinearWeight pack(WeightSlice slice, WeightFormat format, int[] borders) {
    int outputs = slice.rowTo() - slice.rowFrom();
    int inputs = slice.columnTo() - slice.columnFrom();
    float[] values = new float[Math.multiplyExact(outputs, inputs)];
    int units = format == WeightFormat.INT8 ? 1 : groupsBefore(borders, borders.length - 1);
    float[] scales = new float[Math.multiplyExact(units, outputs)];
    for (int o = 0; o < outputs; o++) {
      float[] row = new float[slice.columns()];
      for (int c = 0; c < row.length; c++) {
        row[c] = ReferenceDevice.value(slice, slice.rowFrom() + o, c);
      }
      if (format == WeightFormat.INT8) {
        float largest = largest(row, 0, row.length);
        scales[o] = scale(largest);
        for (int k = 0; k < inputs; k++) {
          values[k * outputs + o] = round(row[slice.columnFrom() + k] * inverse(largest));
        }
        continue;
      }
      int group = 0;
      for (int range = 0; range + 1 < borders.length; range++) {
        for (int k = borders[range]; k < borders[range + 1]; k += GROUP, group++) {
          int from = slice.columnFrom() + k;
          int n = Math.min(GROUP, borders[range + 1] - k);
          float scale = groupScale(row, from, from + n);
          scales[group * outputs + o] = scale;
          for (int i = 0; i < n; i++) {
            values[(k + i) * outputs + o] = level(row[from + i], scale);
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
    float[] sums = new float[weight.outputs()];
    if (weight.format() == WeightFormat.INT8) {
      float largest = largest(row, from, to);
      int[] dots = dots(row, from, to, largest, weight);
      for (int o = 0; o < sums.length; o++) {
        sums[o] = dots[o] * (scale(largest) * weight.scales()[o]);
      }
      return sums;
    }
    int group = groupsBefore(weight.borders(), range);
    for (int k = from; k < to; k += GROUP, group++) {
      int end = Math.min(to, k + GROUP);
      float largest = largest(row, k, end);
      int[] dots = dots(row, k, end, largest, weight);
      for (int o = 0; o < sums.length; o++) {
        float scale = scale(largest) * weight.scales()[group * sums.length + o];
        sums[o] = Math.fma((float) dots[o], scale, sums[o]);
      }
    }
    return sums;
  }

  private static int[] dots(
      float[] row, int from, int to, float largest, ReferenceLinearWeight weight) {
    int[] dots = new int[weight.outputs()];
    for (int k = from; k < to; k++) {
      int x = Float.isNaN(largest) ? 0 : (int) round(row[k] * inverse(largest));
      int at = k * dots.length;
      for (int o = 0; o < dots.length; o++) {
        dots[o] += x * (int) weight.values()[at + o];
      }
    }
    return dots;
  }

  /** The number of an input's group of four-bit weights. */
  static int group(int[] borders, int input) {
    int range = 0;
    while (input >= borders[range + 1]) {
      range++;
    }
    return groupsBefore(borders, range) + (input - borders[range]) / GROUP;
  }

  private static int groupsBefore(int[] borders, int range) {
    int groups = 0;
    for (int i = 0; i < range; i++) {
      groups += Math.ceilDiv(borders[i + 1] - borders[i], GROUP);
    }
    return groups;
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

  private static float scale(float largest) {
    return largest < LEAST ? 0f : largest / LARGEST;
  }

  private static float inverse(float largest) {
    return largest < LEAST ? 0f : LARGEST / largest;
  }

  /** To the nearest integer, ties to even; integers have no negative zero. */
  private static float round(float value) {
    return (float) Math.rint(value) + 0f;
  }

  /** The scale, a bfloat16, of least squared error; the first of those that are equal. */
  private static float groupScale(float[] row, int from, int to) {
    float extreme = 0f;
    for (int i = from; i < to; i++) {
      extreme = Math.abs(row[i]) > Math.abs(extreme) ? row[i] : extreme;
    }
    if (Math.abs(extreme) < LEAST) {
      return 0f;
    }
    float best = Float.NaN;
    float leastError = Float.NaN;
    for (float divisor : DIVISORS) {
      float scale = Bf16.toFloat(Bf16.fromFloat(extreme / -divisor));
      float error = 0f;
      for (int i = from; i < to; i++) {
        float rest = Math.fma(-level(row[i], scale), scale, row[i]);
        error = Math.fma(rest, rest, error);
      }
      if (Float.isNaN(best) || error < leastError) {
        best = scale;
        leastError = error;
      }
    }
    return best;
  }

  /** From -8 to 7. */
  private static float level(float value, float scale) {
    return scale == 0f ? 0f : Math.clamp(round(value * (1f / scale)), -8f, 7f);
  }
}
