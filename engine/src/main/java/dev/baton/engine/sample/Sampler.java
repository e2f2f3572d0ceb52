package dev.baton.engine.sample;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import dev.baton.device.LogitScan;
import dev.baton.device.TokenChoice;
import dev.baton.device.host.HostTokenChoice;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineException.Kind;
import dev.baton.engine.PromptLogprobs;
import dev.baton.engine.SampledToken.Logprobs;
import dev.baton.engine.Sampling;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Has the next tokens of a step chosen, all rows together: {@link #begin}, one {@link #draw} or
 * {@link #score} per row in order, the step, {@link #run}, then the results by row. What sessions
 * ask for becomes orders here; they are carried out where the logits lie ({@link TokenChoice}). A
 * row with a NaN, or without a finite maximum, has a {@link #failure} and no result. Step thread
 * only.
 */
public final class Sampler {

  /*
   * How a token is chosen
   *
   *   1. The row's adjustments (bias, penalties, tokens masked by minTokens): see Adjustments.
   *   2. Greedy (temperature 0): the largest logit; the smallest id wins a tie.
   *   3. Else weights: exp((logit - largest) / temperature) as whole numbers, see LogitScan. So
   *      whatever the order of a sum, its bits are the same.
   *   4. min_p drops logits below largest + temperature * ln(min_p).
   *   5. top_k keeps the k largest logits, of equal ones the smaller ids.
   *   6. top_p keeps the fewest of the largest weights that reach p of the sum of what is left, of
   *      equal ones the smaller ids; at least one.
   *   7. The draw: the inverse of the cumulated weights, by rising id, at uniform(seed, index) of
   *      Philox.
   *
   * Exactness. The same logits, parameters, seed, tokens so far and index give the same token on
   * every machine; nothing else is carried from one draw to the next.
   *
   * Cost. Every row is read once for its blocks' peaks, and a row that is drawn once more for its
   * blocks' weights, by all threads of the scan; no loop in Java goes over a vocabulary. From then
   * on only blocks that matter are read: with k blocks whose peaks reach a value, k elements do, so
   * top_k and the likeliest tokens need about k blocks. top_p is looked for among tokens likelier
   * than 2^-14 first. Nothing is sorted but what is reported.
   *
   * Log probabilities are of the raw logits, before adjustments, temperature and filters.
   */

  /** Logits are differences of at least 2^-24 or so: what is beyond tells no two of them apart. */
  private static final float MOST_INVERSE = 1e30f;

  static {
    if (Sampling.MAX_LOGPROBS > TokenChoice.MOST_TOPS) {
      throw new IllegalStateException("likeliest tokens: more than a choice tells");
    }
  }

  private final TokenChoice choice;
  private final int vocabulary;
  private final MemorySegment orders;
  private final MemorySegment results;
  private final @Nullable EngineException[] failures;
  private final int[] counter = new int[4];
  private int size;
  private int changes;

  /**
   * Over logits in host memory.
   *
   * @param maxRows most rows of a step
   */
  public Sampler(LogitScan scan, int vocabulary, int maxRows) {
    this(new HostTokenChoice(scan, vocabulary, maxRows), vocabulary);
  }

  /** With the choice of whoever runs the steps. */
  public Sampler(TokenChoice choice, int vocabulary) {
    this.choice = choice;
    this.vocabulary = vocabulary;
    this.orders = choice.orders();
    this.results = choice.results();
    this.failures =
        new @Nullable EngineException[(int) (orders.byteSize() / TokenChoice.ORDER_BYTES)];
  }

  /** Begins a step. */
  public void begin() {
    size = 0;
    changes = 0;
  }

  /**
   * The next row is to be drawn from.
   *
   * @param adjustments null = none
   * @param tokens the session's tokens so far, of which {@code length} hold
   * @param index of the token among the session's generated ones
   */
  public void draw(
      Sampling sampling, @Nullable Adjustments adjustments, int[] tokens, int length, int index) {
    boolean greedy = sampling.temperature() == 0f;
    long order = order(greedy ? TokenChoice.GREEDY : TokenChoice.DRAW, sampling.logprobs());
    if (!greedy) {
      float inverse = Math.min(1f / sampling.temperature(), MOST_INVERSE);
      double below =
          sampling.minP() == 0f
              ? Double.NEGATIVE_INFINITY
              : sampling.temperature() * StrictMath.log(sampling.minP());
      orders.set(JAVA_INT_UNALIGNED, order + TokenChoice.TOP_K, sampling.topK());
      orders.set(JAVA_FLOAT_UNALIGNED, order + TokenChoice.TOP_P, sampling.topP());
      orders.set(JAVA_FLOAT_UNALIGNED, order + TokenChoice.INVERSE, inverse);
      orders.set(JAVA_DOUBLE_UNALIGNED, order + TokenChoice.BELOW, below);
      double uniform = Philox.uniform(sampling.seed(), index, counter);
      orders.set(JAVA_DOUBLE_UNALIGNED, order + TokenChoice.UNIFORM, uniform);
    }
    if (adjustments != null) {
      int written = adjustments.write(choice, changes, tokens, length);
      orders.set(JAVA_INT_UNALIGNED, order + TokenChoice.CHANGES_FROM, changes);
      orders.set(JAVA_INT_UNALIGNED, order + TokenChoice.CHANGES, written);
      orders.set(
          JAVA_FLOAT_UNALIGNED, order + TokenChoice.REPETITION, sampling.repetitionPenalty());
      orders.set(JAVA_FLOAT_UNALIGNED, order + TokenChoice.FREQUENCY, sampling.frequencyPenalty());
      orders.set(JAVA_FLOAT_UNALIGNED, order + TokenChoice.PRESENCE, sampling.presencePenalty());
      changes += written;
    }
  }

  /** The next row tells how likely {@code target} was, its rank, and the {@code tops} likeliest. */
  public void score(int target, int tops) {
    long order = order(TokenChoice.SCORE, tops);
    orders.set(JAVA_INT_UNALIGNED, order + TokenChoice.TARGET, target);
  }

  private long order(int kind, int tops) {
    long order = (long) size++ * TokenChoice.ORDER_BYTES;
    orders.set(JAVA_INT_UNALIGNED, order + TokenChoice.KIND, kind);
    orders.set(JAVA_INT_UNALIGNED, order + TokenChoice.TOPS, tops);
    orders.set(JAVA_INT_UNALIGNED, order + TokenChoice.CHANGES, 0);
    return order;
  }

  /** What carries the orders out. */
  public TokenChoice choice() {
    return choice;
  }

  /** Rows added since {@link #begin}. */
  public int size() {
    return size;
  }

  /**
   * Does all rows.
   *
   * @param logits float32 {@code [rows, vocabulary]}, as the step has left them
   */
  public void run(MemorySegment logits) {
    choice.choose(logits, size);
    for (int row = 0; row < size; row++) {
      failures[row] = unusable(row);
    }
  }

  /** Why the row has no result; null when it has one. */
  public @Nullable EngineException failure(int row) {
    return failures[row];
  }

  /** The token chosen, or the one that was scored. */
  public int token(int row) {
    return number(row, TokenChoice.TOKEN);
  }

  /** Puts a scored row down as position {@code position}. */
  public void writeScore(int row, PromptLogprobs to, int position) {
    double normalizer = normalizer(row);
    to.chosen()[position] = logprob(row, TokenChoice.LOGIT, normalizer);
    to.ranks()[position] = number(row, TokenChoice.RANK);
    for (int place = 0; place < tops(row); place++) {
      to.topIds()[position * to.tops() + place] = number(row, TokenChoice.TOP_IDS + 4 * place);
      to.topLogprobs()[position * to.tops() + place] =
          logprob(row, TokenChoice.TOP_LOGITS + 4 * place, normalizer);
    }
  }

  /** The log probabilities of a row that asked for them. */
  public Logprobs logprobs(int row) {
    double normalizer = normalizer(row);
    int tops = tops(row);
    List<Logprobs.Entry> top = new ArrayList<>(tops);
    for (int place = 0; place < tops; place++) {
      top.add(
          new Logprobs.Entry(
              number(row, TokenChoice.TOP_IDS + 4 * place),
              logprob(row, TokenChoice.TOP_LOGITS + 4 * place, normalizer)));
    }
    return new Logprobs(logprob(row, TokenChoice.LOGIT, normalizer), top);
  }

  private int tops(int row) {
    long order = (long) row * TokenChoice.ORDER_BYTES;
    return Math.min(orders.get(JAVA_INT_UNALIGNED, order + TokenChoice.TOPS), vocabulary);
  }

  private int number(int row, int field) {
    return results.get(JAVA_INT_UNALIGNED, (long) row * TokenChoice.RESULT_BYTES + field);
  }

  private float value(int row, int field) {
    return results.get(JAVA_FLOAT_UNALIGNED, (long) row * TokenChoice.RESULT_BYTES + field);
  }

  /** What a logit's excess over is its log probability. */
  private double normalizer(int row) {
    long result = (long) row * TokenChoice.RESULT_BYTES;
    double sum = results.get(JAVA_DOUBLE_UNALIGNED, result + TokenChoice.SUM);
    return value(row, TokenChoice.PEAK) + StrictMath.log(sum);
  }

  private float logprob(int row, int field, double normalizer) {
    return (float) (value(row, field) - normalizer);
  }

  private @Nullable EngineException unusable(int row) {
    float raw = value(row, TokenChoice.PEAK);
    if (!(raw > Float.NEGATIVE_INFINITY)) {
      return unusable(raw, number(row, TokenChoice.NUMBER));
    }
    float changed = value(row, TokenChoice.CHANGED_PEAK);
    return changed > Float.NEGATIVE_INFINITY
        ? null
        : unusable(changed, number(row, TokenChoice.TOKEN));
  }

  private static EngineException unusable(float peak, int number) {
    String what =
        Float.isNaN(peak)
            ? "logit of token %d: NaN or Infinity".formatted(number)
            : "largest logit: -Infinity";
    return new EngineException(Kind.INTERNAL, what + " (expected: finite)");
  }
}
