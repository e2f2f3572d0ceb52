package dev.baton.device.cpu;

import dev.baton.device.LinearWeight;
import dev.baton.device.WeightFormat;
import java.lang.foreign.MemorySegment;

/**
 * A packed weight shard, its outputs in pairs of groups of sixteen: float32 as {@code [pair][2]
 * [inputs][16]} (see {@code linear.cpp}), bfloat16 in tiles (see {@code tiles.cpp}), fewer bits in
 * theirs, with a scale of each output behind them (see {@code bytes.h}).
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

  /** Outputs of two groups side by side. */
  private static final int PAIR = 2 * GROUP;

  /** Inputs of a tile. */
  static final int WIDE_TILE = 32;

  private static final int BYTE_TILE = 64;

  static boolean quantized(WeightFormat format) {
    return format == WeightFormat.INT8 || format == WeightFormat.INT4;
  }

  /** Bytes of a packed weight, without what follows the last tile. */
  private static long tileBytes(int groups, int inputs, int tiles, WeightFormat format) {
    long pairs = (groups + 1) / 2;
    return switch (format) {
      case FLOAT32 -> pairs * PAIR * inputs * Float.BYTES;
      case BFLOAT16 -> pairs * tiles * PAIR * WIDE_TILE * Short.BYTES;
      case INT8 -> pairs * tiles * PAIR * BYTE_TILE;
      case INT4 -> pairs * tiles * PAIR * (BYTE_TILE / 2 + BYTE_TILE / WeightFormat.INT4_GROUP);
    };
  }

  /**
   * @param groups of outputs; filled up to pairs
   * @param tiles of depth
   */
  static long packedBytes(int groups, int inputs, int tiles, WeightFormat format) {
    long scales = quantized(format) ? (groups + 1L) / 2 * PAIR * Float.BYTES : 0;
    return tileBytes(groups, inputs, tiles, format) + scales;
  }

  /** Where the scales of a quantized weight begin. */
  long scalesAddress() {
    return packed.address() + packed.byteSize() - packedGroups() * GROUP * Float.BYTES;
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

  private long packedGroups() {
    return (groups(outputs) + 1L) / 2 * 2;
  }

  /** Each range is filled up to whole tiles. */
  static int tiles(int[] borders, WeightFormat format) {
    int depth = quantized(format) ? BYTE_TILE : WIDE_TILE;
    int tiles = 0;
    for (int i = 1; i < borders.length; i++) {
      tiles += Math.ceilDiv(borders[i] - borders[i - 1], depth);
    }
    return tiles;
  }

  /** Most bytes of the inputs of a product of {@code rows} rows, staged for it. */
  long stagedBytes(int rows) {
    long rowTiles = Math.ceilDiv(rows, GROUP);
    if (!quantized(format)) {
      return rowTiles * GROUP * tiles * WIDE_TILE * Float.BYTES;
    }
    // Elements; a scale and a sum by range; sums by group.
    long units = ranges * (long) (Float.BYTES + Integer.BYTES);
    long groups = format == WeightFormat.INT4 ? BYTE_TILE / WeightFormat.INT4_GROUP : 0;
    return rowTiles
        * Math.min(rows, GROUP)
        * (tiles * (BYTE_TILE + groups * Integer.BYTES) + units);
  }

  long bytes() {
    return packed.byteSize();
  }
}
