package dev.baton.device.host;

import dev.baton.device.LinearWeight;
import dev.baton.device.Parallelism;
import dev.baton.device.WeightSlice;

/**
 * The canonical ranges of a product that a slice of a weight covers (see the exactness rules of
 * {@link dev.baton.device}). They depend on the width of the whole model's weight alone, so every
 * number of ranks cuts at the same borders.
 */
public final class CanonicalRanges {

  private CanonicalRanges() {}

  /** First input of range {@code i} of {@code inputs} inputs. */
  public static int border(int i, int inputs) {
    return (int) ((long) i * inputs / LinearWeight.PARTIALS);
  }

  /**
   * Borders of the slice's ranges, counted from its first column: one range of all columns for a
   * column-parallel weight; 1, 2, 4 or 8 ranges that form a whole subtree of the sum for a
   * row-parallel one.
   */
  public static int[] of(WeightSlice slice, Parallelism parallelism) {
    return switch (parallelism) {
      case COLUMN -> whole(slice);
      case ROW -> subtree(slice);
    };
  }

  private static int[] whole(WeightSlice slice) {
    if (slice.columnFrom() != 0 || slice.columnTo() != slice.columns()) {
      throw new IllegalArgumentException(
          "columns: [%d, %d) of %d (expected: all of a column-parallel weight)"
              .formatted(slice.columnFrom(), slice.columnTo(), slice.columns()));
    }
    return new int[] {0, slice.columns()};
  }

  private static int[] subtree(WeightSlice slice) {
    int first = indexOf(slice.columnFrom(), slice);
    int last = indexOf(slice.columnTo(), slice);
    if (slice.columnFrom() == 0 && slice.columnTo() == slice.columns()) {
      first = 0;
      last = LinearWeight.PARTIALS;
    }
    int count = last - first;
    if (first < 0 || last < 0 || Integer.bitCount(count) != 1 || first % count != 0) {
      throw new IllegalArgumentException(
          "columns: [%d, %d) of %d (expected: 1, 2, 4 or 8 adjacent canonical ranges that form a subtree)"
              .formatted(slice.columnFrom(), slice.columnTo(), slice.columns()));
    }
    int[] borders = new int[count + 1];
    for (int i = 0; i <= count; i++) {
      borders[i] = border(first + i, slice.columns()) - slice.columnFrom();
    }
    return borders;
  }

  private static int indexOf(int column, WeightSlice slice) {
    for (int i = 0; i <= LinearWeight.PARTIALS; i++) {
      if (border(i, slice.columns()) == column) {
        return i;
      }
    }
    return -1;
  }
}
