package dev.baton.engine.sample;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import dev.baton.device.LogitScan;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineException.Kind;
import dev.baton.engine.PromptLogprobs;
import dev.baton.engine.SampledToken.Logprobs;
import dev.baton.engine.Sampling;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Chooses the next tokens of a step, all rows together: {@link #begin}, one {@link #draw} or {@link
 * #score} per row in order, {@link #run}, then the results by row. A row with a NaN, or without a
 * finite maximum, has a {@link #failure} and no result. Memory outside the heap is freed with this
 * object. Step thread only.
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

  private static final int MOST_TOPS = Sampling.MAX_LOGPROBS;

  private final LogitScan scan;
  private final int vocabulary;
  private final int blocks;
  private final long rowBytes;
  private final Row[] rows;
  private final MemorySegment best;
  private final MemorySegment peaks;
  private final MemorySegment views;
  private final MemorySegment exponentials;
  private final MemorySegment draws;
  private final MemorySegment sums;
  private final MemorySegment tokens;
  private final MemorySegment rankings;
  private final MemorySegment topIds;
  private final MemorySegment reached;
  private final int[] counter = new int[4];
  private MemorySegment logits = MemorySegment.NULL;
  private int size;

  /**
   * One row's order and result.
   *
   * <p>{@code tops} -1 = no log probabilities; {@code target} -1 = a draw, else the token that is
   * scored.
   */
  private static final class Row {
    final MemorySegment best;
    final MemorySegment peaks;
    @Nullable Sampling sampling;
    @Nullable Adjustments adjustments;
    int[] tokens = new int[0];
    int length;
    int index;
    int target;
    int tops;

    @Nullable EngineException failure;
    float peak;
    int token;
    double normalizer;
    float logprob;
    int rank;
    int topCount;
    final int[] topIds = new int[MOST_TOPS];
    final float[] topLogprobs = new float[MOST_TOPS];

    Row(MemorySegment best, MemorySegment peaks) {
      this.best = best;
      this.peaks = peaks;
    }
  }

  /**
   * @param maxRows most rows of a step
   */
  public Sampler(LogitScan scan, int vocabulary, int maxRows) {
    this.scan = scan;
    this.vocabulary = vocabulary;
    this.blocks = LogitScan.blocks(vocabulary);
    this.rowBytes = (long) vocabulary * Float.BYTES;
    this.rows = new Row[maxRows];
    Arena arena = Arena.ofAuto();
    long all = (long) maxRows * blocks;
    this.best = arena.allocate((long) maxRows * LogitScan.BEST_BYTES, Long.BYTES);
    this.peaks = arena.allocate(all * Float.BYTES, Long.BYTES);
    long peakBytes = (long) blocks * Float.BYTES;
    for (int i = 0; i < maxRows; i++) {
      rows[i] =
          new Row(
              best.asSlice((long) i * LogitScan.BEST_BYTES, LogitScan.BEST_BYTES),
              peaks.asSlice(i * peakBytes, peakBytes));
    }
    this.views = arena.allocate((long) maxRows * LogitScan.VIEW_BYTES, Long.BYTES);
    this.exponentials = arena.allocate(all * Float.BYTES, Long.BYTES);
    this.draws = arena.allocate((long) maxRows * LogitScan.DRAW_BYTES, Long.BYTES);
    this.sums = arena.allocate(all * Long.BYTES, Long.BYTES);
    this.tokens = arena.allocate((long) maxRows * Integer.BYTES, Integer.BYTES);
    this.rankings = arena.allocate((long) maxRows * LogitScan.RANKING_BYTES, Integer.BYTES);
    this.topIds = arena.allocate((long) maxRows * MOST_TOPS * Integer.BYTES, Integer.BYTES);
    this.reached = arena.allocate((long) maxRows * Integer.BYTES, Integer.BYTES);
  }

  /**
   * Begins a step.
   *
   * @param stepLogits float32 {@code [rows, vocabulary]}; rows with adjustments are changed for a
   *     while
   */
  public void begin(MemorySegment stepLogits) {
    logits = stepLogits;
    size = 0;
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
    Row row = next(-1, sampling.logprobs());
    row.sampling = sampling;
    row.adjustments = adjustments;
    row.tokens = tokens;
    row.length = length;
    row.index = index;
  }

  /** The next row tells how likely {@code target} was, its rank, and the {@code tops} likeliest. */
  public void score(int target, int tops) {
    next(target, tops);
  }

  /** Rows added since {@link #begin}. */
  public int size() {
    return size;
  }

  /** Does all rows. */
  public void run() {
    if (size == 0) {
      return;
    }
    scan.peaks(best, peaks, logits, vocabulary, 0, size);
    for (int i = 0; i < size; i++) {
      takeBest(rows[i]);
    }
    takeLogprobs();
    adjust();
    draw();
    for (int i = 0; i < size; i++) {
      Row row = rows[i];
      if (row.failure == null) {
        finish(row, i);
      }
    }
  }

  /** Why the row has no result; null when it has one. */
  public @Nullable EngineException failure(int row) {
    return rows[row].failure;
  }

  /** The token chosen, or the one that was scored. */
  public int token(int row) {
    return rows[row].token;
  }

  /** Puts a scored row down as position {@code position}. */
  public void writeScore(int row, PromptLogprobs to, int position) {
    Row from = rows[row];
    to.chosen()[position] = from.logprob;
    to.ranks()[position] = from.rank;
    System.arraycopy(from.topIds, 0, to.topIds(), position * to.tops(), from.topCount);
    System.arraycopy(from.topLogprobs, 0, to.topLogprobs(), position * to.tops(), from.topCount);
  }

  /** The log probabilities of a row that asked for them. */
  public Logprobs logprobs(int row) {
    Row from = rows[row];
    List<Logprobs.Entry> top = new ArrayList<>(from.topCount);
    for (int place = 0; place < from.topCount; place++) {
      top.add(new Logprobs.Entry(from.topIds[place], from.topLogprobs[place]));
    }
    return new Logprobs(from.logprob, top);
  }

  private Row next(int target, int tops) {
    Row row = rows[size++];
    row.target = target;
    row.tops = tops;
    row.sampling = null;
    row.adjustments = null;
    row.failure = null;
    row.topCount = 0;
    return row;
  }

  /** The row's largest logit and its first token. */
  private static void takeBest(Row row) {
    row.peak = row.best.get(JAVA_FLOAT_UNALIGNED, 0);
    row.token = row.best.get(JAVA_INT_UNALIGNED, Float.BYTES);
    if (!(row.peak > Float.NEGATIVE_INFINITY)) {
      row.failure = unusable(row);
    }
  }

  /** Normalizers and likeliest tokens of the raw logits, before anything is changed. */
  private void takeLogprobs() {
    int count = 0;
    for (int i = 0; i < size; i++) {
      if (rows[i].tops >= 0 && rows[i].failure == null) {
        writeView(
            views,
            (long) count * LogitScan.VIEW_BYTES,
            i,
            rows[i].peak,
            1f,
            Float.NEGATIVE_INFINITY);
        rows[i].topCount = Math.min(rows[i].tops, vocabulary);
        writeRanking((long) count++ * LogitScan.RANKING_BYTES, i);
      }
    }
    if (count == 0) {
      return;
    }
    scan.exponentials(exponentials, logits, vocabulary, views, count);
    scan.rank(topIds, reached, logits, peaks, vocabulary, rankings, count, MOST_TOPS);
    int at = 0;
    for (int i = 0; i < size; i++) {
      Row row = rows[i];
      if (row.tops >= 0 && row.failure == null) {
        double sum = 0;
        for (int block = 0; block < blocks; block++) {
          sum += exponentials.get(JAVA_FLOAT_UNALIGNED, ((long) at * blocks + block) * Float.BYTES);
        }
        row.normalizer = row.peak + StrictMath.log(sum);
        takeTops(row, i, at);
        row.rank = reached.get(JAVA_INT_UNALIGNED, (long) at * Integer.BYTES);
        at++;
      }
    }
  }

  private void writeRanking(long at, int index) {
    Row row = rows[index];
    rankings.set(JAVA_INT_UNALIGNED, at, index);
    rankings.set(JAVA_FLOAT_UNALIGNED, at + 4, row.peak);
    rankings.set(JAVA_INT_UNALIGNED, at + 8, row.topCount);
    float floor = row.target < 0 ? Float.POSITIVE_INFINITY : logit(index, row.target);
    rankings.set(JAVA_FLOAT_UNALIGNED, at + 12, floor);
  }

  private void takeTops(Row row, int index, int at) {
    for (int place = 0; place < row.topCount; place++) {
      int id = topIds.get(JAVA_INT_UNALIGNED, ((long) at * MOST_TOPS + place) * Integer.BYTES);
      row.topIds[place] = id;
      row.topLogprobs[place] = (float) (logit(index, id) - row.normalizer);
    }
  }

  private void adjust() {
    for (int i = 0; i < size; i++) {
      Row row = rows[i];
      Adjustments adjustments = row.adjustments;
      if (adjustments != null
          && row.failure == null
          && adjustments.apply(logits, i * rowBytes, row.tokens, row.length)) {
        scan.peaks(row.best, row.peaks, logits, vocabulary, i, 1);
        takeBest(row);
      }
    }
  }

  /** The tokens of all rows that are not greedy. */
  private void draw() {
    int count = 0;
    for (int i = 0; i < size; i++) {
      Row row = rows[i];
      Sampling sampling = row.sampling;
      if (sampling != null && row.failure == null && sampling.temperature() > 0f) {
        long at = (long) count++ * LogitScan.DRAW_BYTES;
        writeView(draws, at, i, row.peak, inverse(sampling), floor(row, sampling));
        draws.set(JAVA_INT_UNALIGNED, at + LogitScan.VIEW_BYTES, sampling.topK());
        draws.set(JAVA_FLOAT_UNALIGNED, at + LogitScan.VIEW_BYTES + 4, sampling.topP());
        double uniform = Philox.uniform(sampling.seed(), row.index, counter);
        draws.set(JAVA_DOUBLE_UNALIGNED, at + LogitScan.VIEW_BYTES + 8, uniform);
      }
    }
    if (count > 0) {
      scan.draw(tokens, logits, peaks, vocabulary, sums, draws, count);
    }
    for (int at = 0; at < count; at++) {
      int row = draws.get(JAVA_INT_UNALIGNED, (long) at * LogitScan.DRAW_BYTES);
      rows[row].token = tokens.get(JAVA_INT_UNALIGNED, (long) at * Integer.BYTES);
    }
  }

  private void finish(Row row, int index) {
    if (row.sampling == null) {
      row.token = row.target;
    }
    if (row.adjustments != null) {
      row.adjustments.restore(logits, index * rowBytes);
    }
    if (row.tops >= 0) {
      row.logprob = (float) (logit(index, row.token) - row.normalizer);
    }
  }

  private static float inverse(Sampling sampling) {
    return Math.min(1f / sampling.temperature(), MOST_INVERSE);
  }

  private static float floor(Row row, Sampling sampling) {
    return sampling.minP() == 0f
        ? Float.NEGATIVE_INFINITY
        : (float) (row.peak + sampling.temperature() * StrictMath.log(sampling.minP()));
  }

  private static void writeView(
      MemorySegment to, long at, int row, float peak, float inverse, float floor) {
    to.set(JAVA_INT_UNALIGNED, at, row);
    to.set(JAVA_FLOAT_UNALIGNED, at + 4, peak);
    to.set(JAVA_FLOAT_UNALIGNED, at + 8, inverse);
    to.set(JAVA_FLOAT_UNALIGNED, at + 12, floor);
  }

  private float logit(int row, int id) {
    return logits.get(JAVA_FLOAT_UNALIGNED, row * rowBytes + (long) id * Float.BYTES);
  }

  private static EngineException unusable(Row row) {
    String what =
        Float.isNaN(row.peak)
            ? "logit of token %d: NaN or Infinity".formatted(row.token)
            : "largest logit: -Infinity";
    return new EngineException(Kind.INTERNAL, what + " (expected: finite)");
  }
}
