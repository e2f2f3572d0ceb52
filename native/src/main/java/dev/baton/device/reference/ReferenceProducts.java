package dev.baton.device.reference;

import dev.baton.device.host.Bf16;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Products of one row with a weight, as the exactness rules spell them out. Outputs are in the
 * inner loops, so that the compiler may take several at once.
 */
final class ReferenceProducts {

  /** Inputs of which a product with bfloat16 weights sums the even and the odd ones alone. */
  private static final int TILE = 32;

  private ReferenceProducts() {}

  /** {@code row * weight^T (+ bias)}. */
  static float[] multiply(float[] row, ReferenceLinearWeight weight, float @Nullable [] bias) {
    int outputs = weight.outputs();
    int ranges = weight.borders().length - 1;
    float[][] partials = new float[ranges][outputs];
    for (int range = 0; range < ranges; range++) {
      int from = weight.borders()[range];
      int to = weight.borders()[range + 1];
      switch (weight.format()) {
        case FLOAT32 -> sumInOrder(row, weight, from, to, partials[range]);
        case BFLOAT16 -> sumInTiles(row, weight, from, to, partials[range]);
        case INT8, INT4 -> partials[range] = Quantized.range(row, weight, range);
      }
    }
    float[] column = new float[ranges];
    float[] result = new float[outputs];
    for (int o = 0; o < outputs; o++) {
      for (int range = 0; range < ranges; range++) {
        column[range] = partials[range][o];
      }
      float sum = Canonical.treeSum(column, ranges);
      result[o] = bias == null ? sum : sum + bias[o];
    }
    return result;
  }

  private static void sumInOrder(
      float[] row, ReferenceLinearWeight weight, int from, int to, float[] sums) {
    int outputs = weight.outputs();
    for (int k = from; k < to; k++) {
      float xk = row[k];
      int at = k * outputs;
      for (int o = 0; o < outputs; o++) {
        sums[o] = Math.fma(xk, weight.values()[at + o], sums[o]);
      }
    }
  }

  private static void sumInTiles(
      float[] row, ReferenceLinearWeight weight, int from, int to, float[] sums) {
    int outputs = weight.outputs();
    float[] values = weight.values();
    float[][] evenOdd = new float[2][outputs];
    for (int start = from; start < to; start += TILE) {
      Arrays.fill(evenOdd[0], 0f);
      Arrays.fill(evenOdd[1], 0f);
      for (int k = start; k < Math.min(to, start + TILE); k++) {
        float xk = flushed(Bf16.toFloat(Bf16.fromFloat(row[k])));
        float[] alone = evenOdd[(k - start) % 2];
        int at = k * outputs;
        for (int o = 0; o < outputs; o++) {
          alone[o] = flushed(Math.fma(xk, flushed(values[at + o]), alone[o]));
        }
      }
      for (int o = 0; o < outputs; o++) {
        sums[o] = flushed(sums[o] + flushed(evenOdd[0][o] + evenOdd[1][o]));
      }
    }
  }

  private static float flushed(float value) {
    return Math.abs(value) < Float.MIN_NORMAL ? Math.copySign(0f, value) : value;
  }
}
