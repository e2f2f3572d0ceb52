package dev.baton.device.host;

/** Conversion between float32 and the bits of bfloat16. */
public final class Bf16 {

  private Bf16() {}

  /** Rounds to nearest even; a NaN stays a (quiet) NaN of the same sign. */
  public static short fromFloat(float value) {
    int bits = Float.floatToRawIntBits(value);
    if ((bits & 0x7fffffff) > 0x7f800000) {
      return (short) (bits >>> 16 | 0x40);
    }
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }

  /** Exact. */
  public static float toFloat(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }
}
