package dev.baton.device.cpu;

import dev.baton.device.LinearWeight;
import dev.baton.device.WeightFormat;
import java.lang.foreign.MemorySegment;

/**
 * A packed weight shard: {@code [outputs / 16][inputs][16]}, the last group filled up with zeros,
 * or the tiles of the matrix units (see {@code tiles.cpp}).
 *
 * @param borders of its canonical ranges from its first input, int32 {@code [ranges + 1]}
 * @param tiles of depth that the ranges fill; 0 = not in tiles
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

  static final int GROUP = 16;

  /** Rows of a tile of a product's inputs. */
  static final int TILE_ROWS = 16;

  private static final int TILE_INPUTS = 32;
  private static final int TILE_BYTES = 1024;

  /** Outputs of two tiles side by side. */
  private static final int PAIR = 32;

  static long packedBytes(int outputs, int inputs, WeightFormat format) {
    return ((long) outputs + GROUP - 1) / GROUP * GROUP * inputs * elementBytes(format);
  }

  static int elementBytes(WeightFormat format) {
    return switch (format) {
      case FLOAT32 -> 4;
      case BFLOAT16 -> 2;
      case INT8, INT4 ->
          throw new IllegalArgumentException(
              "format: %s (expected: FLOAT32 or BFLOAT16)".formatted(format));
    };
  }

  static long tiledBytes(int outputs, int tiles) {
    return ((long) outputs + PAIR - 1) / PAIR * 2 * tiles * TILE_BYTES;
  }

  /** Each range is filled up to whole tiles. */
  static int tiles(int[] borders) {
    int tiles = 0;
    for (int i = 1; i < borders.length; i++) {
      tiles += (borders[i] - borders[i - 1] + TILE_INPUTS - 1) / TILE_INPUTS;
    }
    return tiles;
  }

  /** Bytes of the inputs of a product of {@code rows} rows, in tiles. */
  long stagedBytes(int rows) {
    return ((long) rows + TILE_ROWS - 1) / TILE_ROWS * tiles * TILE_BYTES;
  }
}
