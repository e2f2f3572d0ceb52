package dev.baton.device;

import java.lang.foreign.MemorySegment;

/**
 * Rows {@code [rowFrom, rowTo)} and columns {@code [columnFrom, columnTo)} of a row-major matrix
 * {@code [rows, columns]} in a checkpoint.
 *
 * @param data the whole matrix, as stored; may be unaligned; not kept after packing
 * @param dtype dtype of {@code data}: FLOAT32, BFLOAT16 or FLOAT16
 */
public record WeightSlice(
    MemorySegment data,
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
    if (data.byteSize() != (long) rows * columns * dtype.bytes()) {
      throw new IllegalArgumentException(
          "data: %d bytes (expected: %d * %d * %d)"
              .formatted(data.byteSize(), rows, columns, dtype.bytes()));
    }
  }

  /** The whole matrix. */
  public static WeightSlice whole(MemorySegment data, DType dtype, int rows, int columns) {
    return new WeightSlice(data, dtype, rows, columns, 0, rows, 0, columns);
  }
}
