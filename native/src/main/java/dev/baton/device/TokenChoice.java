package dev.baton.device;

import java.lang.foreign.MemorySegment;

/**
 * Chooses tokens from the rows of logits of a step, as the orders of the rows say. Orders are
 * written before the step, results are read after {@link #choose}; what lies between is the
 * device's: a host goes over the logits when it is asked to, a GPU has done so within the pass
 * ({@link Ops#choose}), and no logits leave it. The same logits and orders give the same results on
 * every device. One thread.
 *
 * <p>For each row: the largest logit; where log probabilities are asked for, the sum of the row's
 * exponentials and its likeliest tokens, of the raw logits; then the changes; then, of the changed
 * logits, the largest or a draw, see {@link LogitScan#draw}. All numbers are little-endian.
 */
public interface TokenChoice {

  /** The first of the largest logits. */
  int GREEDY = 0;

  /** A draw. */
  int DRAW = 1;

  /** No choice: how likely the target was. */
  int SCORE = 2;

  /** Most likeliest tokens that a row tells. */
  int MOST_TOPS = 20;

  /**
   * Bytes of an order: int32 kind, int32 tops (-1 = no log probabilities), int32 target (of {@link
   * #SCORE}), int32 topK, float32 topP, float32 inverse of the temperature, float64 by how much a
   * logit may be below the largest (negative; minus infinity = any), float64 uniform, int32 first
   * change, int32 changes, float32 penalties: repetition, frequency, presence; then filling.
   */
  int ORDER_BYTES = 64;

  int KIND = 0;
  int TOPS = 4;
  int TARGET = 8;
  int TOP_K = 12;
  int TOP_P = 16;
  int INVERSE = 20;
  int BELOW = 24;
  int UNIFORM = 32;
  int CHANGES_FROM = 40;
  int CHANGES = 44;
  int REPETITION = 48;
  int FREQUENCY = 52;
  int PRESENCE = 56;

  /**
   * Bytes of a change: int32 token, float32 bias, int32 how often it was generated, int32 flags. No
   * token has two changes in a row. {@link #BIASED}: the bias is added. {@link #SEEN}: divided by
   * the repetition penalty when positive, else multiplied; where generated, less frequency times
   * the number, less presence. {@link #MASKED}: minus infinity. In this order.
   */
  int CHANGE_BYTES = 16;

  int BIASED = 1;
  int SEEN = 2;
  int MASKED = 4;

  /**
   * Bytes of a result: float32 largest raw logit (NaN = one is NaN or infinite) and int32 its
   * number; float32 the same after the changes; int32 the token (where one of both is not finite:
   * the number that the last one was found at); float32 its raw logit; int32 how many raw logits
   * are at least that of the target ({@link #SCORE}); float64 the sum of exp(logit - largest) over
   * the raw row; int32 the likeliest tokens; float32 their raw logits.
   */
  int RESULT_BYTES = 32 + MOST_TOPS * 8;

  int PEAK = 0;
  int NUMBER = 4;
  int CHANGED_PEAK = 8;
  int TOKEN = 12;
  int LOGIT = 16;
  int RANK = 20;
  int SUM = 24;
  int TOP_IDS = 32;
  int TOP_LOGITS = TOP_IDS + MOST_TOPS * 4;

  /** The orders of the rows, {@link #ORDER_BYTES} each. */
  MemorySegment orders();

  /** Room for at least so many changes, {@link #CHANGE_BYTES} each; what was written stays. */
  MemorySegment changes(int count);

  /**
   * Carries out the orders of the first rows, unless the pass has done so. The logits are what they
   * were when it returns.
   *
   * @param logits what the pass gave, float32 {@code [rows, vocabulary]}; not looked at where they
   *     stay on the device
   */
  void choose(MemorySegment logits, int rows);

  /** The results of the rows, {@link #RESULT_BYTES} each, until the next step begins. */
  MemorySegment results();
}
