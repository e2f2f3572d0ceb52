package dev.baton.device.cuda;

/** A row of KV in eight bits by the rule of all devices, spelled out: what tests expect. */
record EightBits(byte[] elements, float scale) {

  static EightBits of(float[] row) {
    float most = 0;
    boolean finite = true;
    for (float x : row) {
      finite &= Float.isFinite(x);
      most = Math.max(most, Math.abs(x));
    }
    int bits = (Float.floatToRawIntBits(most / 127) + 128) >>> 8 << 8;
    float scale = finite ? Float.intBitsToFloat(bits) : Float.NaN;
    if (scale < Float.MIN_NORMAL) {
      scale = 0;
    }
    byte[] elements = new byte[row.length];
    for (int d = 0; d < row.length && scale > 0; d++) {
      elements[d] = (byte) Math.rint((double) (row[d] * (1f / scale)));
    }
    return new EightBits(elements, scale);
  }

  float[] widened() {
    float[] row = new float[elements.length];
    for (int d = 0; d < row.length; d++) {
      row[d] = elements[d] * scale;
    }
    return row;
  }
}
