package dev.baton.device;

import java.lang.foreign.MemorySegment;

/**
 * Passes over whole rows of logits, for a sampler: what depends on every element of a vocabulary.
 * Rows are cut into blocks of {@link #BLOCK} elements, the last may be shorter; results are per
 * block, so that a caller finds its way without reading the row again.
 *
 * <p>All memory is the caller's, outside the heap unless the device is the Java reference. One
 * thread at a time, while no rank runs that writes the logits. Every result is one fixed sequence
 * of operations, the same bits on every device and for any number of threads.
 *
 * <p>A <b>weight</b> is a probability up to a factor, as a whole number: {@code exp((x - peak) *
 * inverse)} times {@link #ONE}, rounded; 0 for elements below {@code floor}. Sums of weights are
 * exact, whatever their order, and an element less than about 2^-31 times as likely as the
 * likeliest has none.
 */
public interface LogitScan {

  /** Elements of a block. */
  int BLOCK = 128;

  /** The weight of a row's largest element. */
  int ONE = 1 << 30;

  /** Bytes of a view: int32 row, float32 peak, inverse and floor, in this order. */
  int VIEW_BYTES = 16;

  /** Blocks of a row. */
  static int blocks(int width) {
    return (width + BLOCK - 1) / BLOCK;
  }

  /**
   * {@code peaks[i, block]} = the largest element of the block in row {@code rowFrom + i}, or NaN
   * when one is NaN or positive infinity. A zero is positive.
   *
   * @param peaks float32 {@code [rows, blocks]}
   * @param logits float32 {@code [.., width]}
   */
  void peaks(MemorySegment peaks, MemorySegment logits, int width, int rowFrom, int rows);

  /**
   * {@code sums[i, block]} = the sum of {@code exp((x - peak) * inverse)} over the block in the row
   * of view {@code i}: 16 lanes in order, added by halves. The floor is not regarded.
   *
   * @param sums float32 {@code [count, blocks]}
   * @param views {@code count} of {@link #VIEW_BYTES} each
   */
  void exponentials(
      MemorySegment sums, MemorySegment logits, int width, MemorySegment views, int count);

  /**
   * {@code sums[i, block]} = the sum of the block's weights, as view {@code i} sees them.
   *
   * @param sums int64 {@code [count, blocks]}
   */
  void weigh(MemorySegment sums, MemorySegment logits, int width, MemorySegment views, int count);

  /**
   * Lists the elements of one row that are at least the view's floor and whose weight is at least
   * {@code least}, of blocks {@code [blockFrom, blockTo)}, by rising number. Those of block {@code
   * b} begin at {@code b * BLOCK} in {@code ids} and {@code weights}; what lies behind them there
   * is undefined. Blocks whose peak is below the floor are not read.
   *
   * @param ids int32 {@code [blocks * BLOCK]}: numbers of elements in the row
   * @param weights int32 {@code [blocks * BLOCK]}
   * @param counts int32 {@code [blocks]}: elements listed of each block
   * @param peaks float32 {@code [blocks]} of this row, as {@link #peaks} has left them
   * @param view one view
   */
  void select(
      MemorySegment ids,
      MemorySegment weights,
      MemorySegment counts,
      MemorySegment logits,
      MemorySegment peaks,
      int width,
      MemorySegment view,
      int least,
      int blockFrom,
      int blockTo);
}
