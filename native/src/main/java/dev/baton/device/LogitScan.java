package dev.baton.device;

import java.lang.foreign.MemorySegment;

/**
 * Passes over whole rows of logits, for a sampler: what depends on every element of a vocabulary.
 * Rows are cut into blocks of {@link #BLOCK} elements, the last may be shorter; results are per
 * block, so that a caller finds its way without reading the row again.
 *
 * <p>All memory is the caller's, outside the heap unless the device is the Java reference. One
 * thread at a time, while no rank runs. Every result is one fixed sequence of operations, the same
 * bits on every device and for any number of threads.
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

  /** Bytes of a draw: a view, int32 topK, float32 topP, float64 uniform, in this order. */
  int DRAW_BYTES = 32;

  /** Bytes of a ranking: int32 row, float32 peak, int32 top, float32 floor, in this order. */
  int RANKING_BYTES = 16;

  /** Bytes of a row's best: float32 logit, int32 number. */
  int BEST_BYTES = 8;

  /** Blocks of a row. */
  static int blocks(int width) {
    return (width + BLOCK - 1) / BLOCK;
  }

  /**
   * {@code peaks[i, block]} = the largest element of the block in row {@code rowFrom + i}, or NaN
   * when one is NaN or positive infinity. A zero is positive. {@code best[i]} = the largest of the
   * row and the first of its numbers, or NaN and the first number that is NaN or positive infinity.
   *
   * @param best {@code rows} of {@link #BEST_BYTES} each
   * @param peaks float32 {@code [rows, blocks]}
   * @param logits float32 {@code [.., width]}
   */
  void peaks(
      MemorySegment best,
      MemorySegment peaks,
      MemorySegment logits,
      int width,
      int rowFrom,
      int rows);

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
   * Draws from rows. What is left of a row's elements: those of {@code topK} largest (of equal ones
   * the first; 0 = all), of these the fewest of the largest weights that reach {@code ceil(topP *
   * sum)} of the sum of their weights, again the first of equal ones ({@code topP} of 1 = all). The
   * token is the first at which the weights of what is left, summed by rising number, exceed {@code
   * floor(uniform * sum)} of these.
   *
   * @param tokens int32 {@code [count]}
   * @param peaks float32 {@code [.., blocks]}, of all rows, as {@link #peaks} has left them
   * @param sums int64 {@code [count, blocks]}; content undefined afterwards
   * @param draws {@code count} of {@link #DRAW_BYTES} each; each peak is the row's largest, finite;
   *     uniform in [0, 1)
   */
  void draw(
      MemorySegment tokens,
      MemorySegment logits,
      MemorySegment peaks,
      int width,
      MemorySegment sums,
      MemorySegment draws,
      int count);

  /**
   * Tells the order of rows. {@code ids[i]} = the numbers of the largest elements of ranking {@code
   * i}'s row, as many as its {@code top}, largest first, equal ones by rising number; {@code
   * reached[i]} = how many elements are at least its floor.
   *
   * @param ids int32 {@code [count, most]}; what is behind a ranking's top is undefined
   * @param reached int32 {@code [count]}
   * @param peaks float32 {@code [.., blocks]}, of all rows, as {@link #peaks} has left them
   * @param rankings {@code count} of {@link #RANKING_BYTES} each; each peak is the row's largest,
   *     finite
   * @param most at least every top, which is at most {@code width}
   */
  void rank(
      MemorySegment ids,
      MemorySegment reached,
      MemorySegment logits,
      MemorySegment peaks,
      int width,
      MemorySegment rankings,
      int count,
      int most);
}
