package dev.baton.simulation.model;

/** The hash that stands for the model: of a context, token by token, and of its parts. */
final class TokenHash {

  /** Of the empty context. */
  static final long EMPTY = 0x5DEECE66DL;

  private TokenHash() {}

  /** The hash of a context and one more value. */
  static long mix(long hash, long value) {
    long mixed = (hash + value + 1) * 0x9E3779B97F4A7C15L;
    mixed = (mixed ^ mixed >>> 32) * 0xD6E8FEB86659FD93L;
    return mixed ^ mixed >>> 29;
  }

  /** Writes the logits that follow from a context. Steps of 1/4, so that ties happen. */
  static void logits(long hash, float[] row, int from, int width) {
    for (int id = 0; id < width; id++) {
      row[from + id] = (mix(hash, id) >>> 59) / 4f;
    }
  }
}
