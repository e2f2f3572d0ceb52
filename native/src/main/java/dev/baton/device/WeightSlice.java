package dev.baton.device;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Rows {@code [rowFrom, rowTo)} and columns {@code [columnFrom, columnTo)} of a row-major matrix
 * {@code [rows, columns]} in a checkpoint.
 *
 * @param data the whole matrix, as stored; may be unaligned; not kept after packing
 * @param random how its elements are made, by a device that {@link Device#makesRandom makes random}
 *     ones, instead of {@code data}, which is empty then; null = data has them
 * @param dtype dtype of the elements: FLOAT32, BFLOAT16 or FLOAT16
 */
public record WeightSlice(
    MemorySegment data,
    @Nullable RandomElements random,
    DType dtype,
    int rows,
    int columns,
    int rowFrom,
    int rowTo,
    int columnFrom,
    int columnTo) {

  public WeightSlice {
    if (rowFrom < 0 || rowFrom > rowTo || rowTo > rows) {
      throw new IllegalArgumentException(
          "rows: [%d, %d) (expected: a range within 0..%d)".formatted(rowFrom, rowTo, rows));
    }
    if (columnFrom < 0 || columnFrom > columnTo || columnTo > columns) {
      throw new IllegalArgumentException(
          "columns: [%d, %d) (expected: a range within 0..%d)"
              .formatted(columnFrom, columnTo, columns));
    }
    long bytes = random == null ? (long) rows * columns * dtype.bytes() : 0;
    if (data.byteSize() != bytes) {
      throw new IllegalArgumentException(
          "data: %d bytes (expected: %d, for %s [%d, %d])"
              .formatted(data.byteSize(), bytes, dtype, rows, columns));
    }
    if (random != null && random.dtype() != dtype) {
      throw new IllegalArgumentException(
          "dtype: %s (expected: %s, that of the random elements)".formatted(dtype, random.dtype()));
    }
  }

  /** Of a matrix that is stored. */
  public WeightSlice(
      MemorySegment data,
      DType dtype,
      int rows,
      int columns,
      int rowFrom,
      int rowTo,
      int columnFrom,
      int columnTo) {
    this(data, null, dtype, rows, columns, rowFrom, rowTo, columnFrom, columnTo);
  }

  /** The whole matrix. */
  public static WeightSlice whole(MemorySegment data, DType dtype, int rows, int columns) {
    return new WeightSlice(data, dtype, rows, columns, 0, rows, 0, columns);
  }
}
