package dev.baton.device.reference;

import dev.baton.device.host.Bf16;

/** The canonical arithmetic: sums by trees, sums by lanes, and the exponential function. */
final class Canonical {

  /** Elements that a sum over a row takes side by side, and positions of an attention tile. */
  static final int LANES = 16;

  /** Terms that the bfloat16 rule takes together. */
  private static final int BF16_DEPTH = 32;

  private static final float EXP_LOW = -87f;
  private static final float EXP_HIGH = 88f;
  private static final float LOG2_E = 1.44269504f;

  /** Adding it rounds to the nearest integer, which then stands in the low bits. */
  private static final float ROUNDER = 12582912f;

  /** ln 2 in two parts; multiples of the first, up to 2^8 times, are exact. */
  private static final float LN2_HIGH = 0.693359375f;

  private static final float LN2_LOW = -2.12194440e-4f;

  private Canonical() {}

  /** Adds {@code count} values, a power of two, as a binary tree of neighbours. */
  static float treeSum(float[] values, int count) {
    if (count == 1) {
      return values[0];
    }
    float[] sums = new float[count / 2];
    for (int i = 0; i < sums.length; i++) {
      sums[i] = values[2 * i] + values[2 * i + 1];
    }
    return treeSum(sums, sums.length);
  }

  /** Adds 16 lanes by halves: {@code j + (j + 8)}, then 4, 2, 1. Destroys them. */
  static float laneSum(float[] lanes) {
    for (int half = LANES / 2; half > 0; half /= 2) {
      for (int j = 0; j < half; j++) {
        lanes[j] += lanes[j + half];
      }
    }
    return lanes[0];
  }

  /** The larger of 16 lanes, by halves; differs from Math.max in NaN, which loses as {@code b}. */
  static float laneMax(float[] lanes) {
    float[] m = lanes.clone();
    for (int half = LANES / 2; half > 0; half /= 2) {
      for (int j = 0; j < half; j++) {
        m[j] = max(m[j + half], m[j]);
      }
    }
    return m[0];
  }

  /** {@code a > b ? a : b}, what the vector instructions do. */
  static float max(float a, float b) {
    return a > b ? a : b;
  }

  /**
   * e^x with about one unit in the last place of error: {@code x = n ln 2 + r}, Taylor's polynomial
   * of degree 7 in {@code r}, times {@code 2^n}. 0 below -87, infinite above 88, NaN for NaN.
   */
  static float exp(float x) {
    float rounded = Math.fma(x, LOG2_E, ROUNDER);
    float n = rounded - ROUNDER;
    float r = Math.fma(n, -LN2_HIGH, x);
    r = Math.fma(n, -LN2_LOW, r);
    float p = 1f / 5040;
    p = Math.fma(p, r, 1f / 720);
    p = Math.fma(p, r, 1f / 120);
    p = Math.fma(p, r, 1f / 24);
    p = Math.fma(p, r, 1f / 6);
    p = Math.fma(p, r, 0.5f);
    p = Math.fma(p, r, 1f);
    p = Math.fma(p, r, 1f);
    float power = Float.intBitsToFloat((Float.floatToRawIntBits(rounded) << 23) + (127 << 23));
    float result = p * power;
    if (x < EXP_LOW) {
      return 0f;
    }
    return x > EXP_HIGH ? Float.POSITIVE_INFINITY : result;
  }

  /** What a unit that counts denormals as 0 makes of a value. */
  static float flushed(float value) {
    return Math.abs(value) < Float.MIN_NORMAL ? Math.copySign(0f, value) : value;
  }

  /** Rounded to bfloat16; denormals count as 0. */
  static float bf16(float value) {
    return flushed(Bf16.toFloat(Bf16.fromFloat(value)));
  }

  /**
   * The sum of products by the bfloat16 rule, of elements that are bfloat16: 32 at a time, the even
   * and the odd ones alone, each by fma in order from 0, then {@code sum + (even + odd)}; denormals
   * count as 0.
   */
  static float bf16Dot(float[] a, float[] b) {
    float sum = 0f;
    for (int from = 0; from < a.length; from += BF16_DEPTH) {
      float even = 0f;
      float odd = 0f;
      for (int i = from; i < Math.min(a.length, from + BF16_DEPTH); i++) {
        if ((i - from) % 2 == 0) {
          even = flushed(Math.fma(flushed(a[i]), flushed(b[i]), even));
        } else {
          odd = flushed(Math.fma(flushed(a[i]), flushed(b[i]), odd));
        }
      }
      sum = flushed(sum + flushed(even + odd));
    }
    return sum;
  }

  /**
   * 2^x for x up to about 0: {@code x = n + r}, a polynomial of degree 4 in {@code r} with a
   * relative error of 3e-6, exactly 1 for 0, times {@code 2^n}. 2^-126 below -126, NaN for NaN.
   */
  static float power(float x) {
    float bounded = max(-126f, x);
    float rounded = bounded + ROUNDER;
    float r = bounded - (rounded - ROUNDER);
    float p = 0.00958285294f;
    p = Math.fma(p, r, 0.0559064262f);
    p = Math.fma(p, r, 0.240240991f);
    p = Math.fma(p, r, 0.693124175f);
    p = Math.fma(p, r, 1f);
    return p * Float.intBitsToFloat((Float.floatToRawIntBits(rounded) << 23) + (127 << 23));
  }
}
