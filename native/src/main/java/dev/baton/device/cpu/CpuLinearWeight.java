package dev.baton.device.cpu;

import dev.baton.device.LinearWeight;
import dev.baton.device.WeightFormat;
import java.lang.foreign.MemorySegment;

/**
 * A packed weight shard, its outputs in pairs of groups of sixteen: float32 as {@code [pair][2]
 * [inputs][16]} (see {@code linear.cpp}), bfloat16 in tiles (see {@code tiles.cpp}), fewer bits in
 * theirs ({@link QuantizedProducts}).
 *
 * @param borders of its canonical ranges from its first input, int32 {@code [ranges + 1]}
 * @param tiles of depth that the ranges fill
 */
record CpuLinearWeight(
    int outputs,
    int inputs,
    WeightFormat format,
    int ranges,
    MemorySegment borders,
    int tiles,
    MemorySegment packed)
    implements LinearWeight {

  /** Outputs that are the lanes of a vector. */
  static final int GROUP = 16;

  private static final int TILE_INPUTS = 32;

  /** Of sixteen outputs in bfloat16. */
  private static final int TILE_BYTES = 1024;

  /**
   * @param groups of outputs; filled up to pairs
   * @param tiles of depth
   */
  static long packedBytes(int groups, int inputs, int tiles, WeightFormat format) {
    long pairs = (groups + 1) / 2;
    return switch (format) {
      case FLOAT32 -> pairs * 2 * GROUP * inputs * Float.BYTES;
      case BFLOAT16 -> pairs * 2 * tiles * TILE_BYTES;
      case INT8, INT4 -> throw unsupported(format);
    };
  }

  static IllegalArgumentException unsupported(WeightFormat format) {
    return new IllegalArgumentException(
        "format: %s (expected: FLOAT32 or BFLOAT16)".formatted(format));
  }

  /** How {@code gather_packed} names a format. */
  static int code(WeightFormat format) {
    return switch (format) {
      case FLOAT32 -> 0;
      case BFLOAT16 -> 1;
      case INT8 -> 8;
      case INT4 -> 4;
    };
  }

  static int groups(int outputs) {
    return (outputs + GROUP - 1) / GROUP;
  }

  /** Each range is filled up to whole tiles. */
  static int tiles(int[] borders) {
    int tiles = 0;
    for (int i = 1; i < borders.length; i++) {
      tiles += (borders[i] - borders[i - 1] + TILE_INPUTS - 1) / TILE_INPUTS;
    }
    return tiles;
  }

  /** Most bytes of the inputs of a product of {@code rows} rows, staged for it. */
  long stagedBytes(int rows) {
    return ((long) rows + GROUP - 1) / GROUP * GROUP * tiles * TILE_INPUTS * Float.BYTES;
  }

  long bytes() {
    return packed.byteSize();
  }
}
