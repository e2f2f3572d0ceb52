package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.baton.device.LinearWeight;
import dev.baton.device.Parallelism;
import dev.baton.device.WeightSlice;
import dev.baton.device.host.CanonicalRanges;
import java.lang.foreign.MemorySegment;

/**
 * How the columns of a product's inputs lie in memory; {@code layouts.h} has the same struct.
 *
 * @param inputs columns of this shard
 * @param whole columns of the whole model's weight
 * @param parts canonical ranges of these
 * @param first of this shard's ranges
 * @param ranges of this shard
 * @param width elements that each range has room for, a multiple of 32
 */
record Packing(int inputs, int whole, int parts, int first, int ranges, int width) {

  /** Bytes of the struct. */
  static final int BYTES = 24;

  /** Ranges of a column-parallel weight, which every rank has whole. */
  private static final int COLUMN_PARTS = 4;

  private static final int TILE = 32;

  /** Of inputs that every rank has whole. */
  static Packing column(int inputs) {
    return new Packing(
        inputs,
        inputs,
        COLUMN_PARTS,
        0,
        COLUMN_PARTS,
        width(inputs, COLUMN_PARTS, 0, COLUMN_PARTS));
  }

  /** Of a row-major matrix as it is. */
  static Packing plain(int columns) {
    return new Packing(columns, columns, 1, 0, 1, columns);
  }

  /** Of a slice of a weight. */
  static Packing of(WeightSlice slice, Parallelism parallelism) {
    int[] borders = CanonicalRanges.of(slice, parallelism);
    if (parallelism == Parallelism.COLUMN) {
      return column(slice.columns());
    }
    int parts = LinearWeight.PARTIALS;
    int ranges = borders.length - 1;
    int first = 0;
    if (ranges < parts) {
      while (CanonicalRanges.border(first, slice.columns()) != slice.columnFrom()) {
        first++;
      }
    }
    return new Packing(
        slice.columnTo() - slice.columnFrom(),
        slice.columns(),
        parts,
        first,
        ranges,
        width(slice.columns(), parts, first, ranges));
  }

  private static int width(int whole, int parts, int first, int ranges) {
    long longest = 1;
    for (int i = first; i < first + ranges; i++) {
      longest = Math.max(longest, (i + 1L) * whole / parts - (long) i * whole / parts);
    }
    return Math.toIntExact((longest + TILE - 1) / TILE * TILE);
  }

  /** Elements of a row. */
  long pitch() {
    return (long) ranges * width;
  }

  /** Bytes of {@code rows} rows of bfloat16. */
  long bytes(long rows) {
    return rows * pitch() * Short.BYTES;
  }

  void write(MemorySegment to) {
    to.setAtIndex(JAVA_INT, 0, inputs);
    to.setAtIndex(JAVA_INT, 1, whole);
    to.setAtIndex(JAVA_INT, 2, parts);
    to.setAtIndex(JAVA_INT, 3, first);
    to.setAtIndex(JAVA_INT, 4, ranges);
    to.setAtIndex(JAVA_INT, 5, width);
  }
}
