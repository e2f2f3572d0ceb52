package dev.baton.engine.sample;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

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
   * blocks' weights, by all threads of the scan. From then on only blocks that matter are read:
   * with k blocks whose peaks reach a value, k elements do, so top_k and the likeliest tokens need
   * about k blocks. top_p leaves out what is less likely than half of (1 - p) / vocabulary: all
   * that together is less than 1 - p. Nothing is sorted but what is reported.
   *
   * Log probabilities are of the raw logits, before adjustments, temperature and filters.
   */

  /** Logits are differences of at least 2^-24 or so: what is beyond tells no two of them apart. */
  private static final float MOST_INVERSE = 1e30f;

  /** Keeps a floor that only saves work below what the rounding of weights could matter for. */
  private static final double FLOOR_MARGIN = 0.01;

  private final LogitScan scan;
  private final int vocabulary;
  private final int blocks;
  private final long rowBytes;
  private final Row[] rows;
  private final MemorySegment peaks;
  private final MemorySegment views;
  private final MemorySegment exponentials;
  private final MemorySegment weights;
  private final int[] counter = new int[4];
  private final Candidates candidates;
  private final RankedTokens ranked = new RankedTokens();
  private MemorySegment logits = MemorySegment.NULL;
  private int size;

  /**
   * One row's order and result.
   *
   * <p>{@code tops} -1 = no log probabilities; {@code target} -1 = a draw, else the token that is
   * scored.
   */
  private static final class Row {
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
    int best;

    /** Its place among the rows whose blocks were weighed. */
    int weighed;

    int token;
    double normalizer;
    float logprob;
    int rank;
    int topCount;
    final int[] topIds = new int[Sampling.MAX_LOGPROBS];
    final float[] topLogprobs = new float[Sampling.MAX_LOGPROBS];

    Row(MemorySegment peaks) {
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
    this.peaks = arena.allocate(all * Float.BYTES, Long.BYTES);
    long peakBytes = (long) blocks * Float.BYTES;
    for (int i = 0; i < maxRows; i++) {
      rows[i] = new Row(peaks.asSlice(i * peakBytes, peakBytes));
    }
    this.views = arena.allocate((long) maxRows * LogitScan.VIEW_BYTES, Long.BYTES);
    this.exponentials = arena.allocate(all * Float.BYTES, Long.BYTES);
    this.weights = arena.allocate(all * Long.BYTES, Long.BYTES);
    this.candidates = new Candidates(vocabulary);
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
    scan.peaks(peaks, logits, vocabulary, 0, size);
    for (int i = 0; i < size; i++) {
      findPeak(i);
    }
    takeLogprobs();
    adjust();
    weigh();
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

  /** The row's largest logit and its first token, from the peaks of its blocks. */
  private void findPeak(int index) {
    Row row = rows[index];
    long from = (long) index * blocks * Float.BYTES;
    float peak = Float.NEGATIVE_INFINITY;
    int at = 0;
    for (int block = 0; block < blocks; block++) {
      float value = peaks.get(JAVA_FLOAT_UNALIGNED, from + (long) block * Float.BYTES);
      if (Float.isNaN(value)) {
        row.failure = unusable(index, block);
        return;
      }
      if (value > peak) {
        peak = value;
        at = block;
      }
    }
    if (peak == Float.NEGATIVE_INFINITY) {
      row.failure = unusable("largest logit: -Infinity");
      return;
    }
    int id = at * LogitScan.BLOCK;
    while (logit(index, id) != peak) {
      id++;
    }
    row.peak = peak;
    row.best = id;
  }

  /** Normalizers and likeliest tokens of the raw logits, before anything is changed. */
  private void takeLogprobs() {
    int count = 0;
    for (int i = 0; i < size; i++) {
      if (rows[i].tops >= 0 && rows[i].failure == null) {
        view(count++, i, rows[i].peak, 1f, Float.NEGATIVE_INFINITY);
      }
    }
    if (count == 0) {
      return;
    }
    scan.exponentials(exponentials, logits, vocabulary, views, count);
    int at = 0;
    for (int i = 0; i < size; i++) {
      Row row = rows[i];
      if (row.tops >= 0 && row.failure == null) {
        double sum = 0;
        for (int block = 0; block < blocks; block++) {
          sum += exponentials.get(JAVA_FLOAT_UNALIGNED, ((long) at * blocks + block) * Float.BYTES);
        }
        at++;
        row.normalizer = row.peak + StrictMath.log(sum);
        takeTops(row, i);
        if (row.target >= 0) {
          row.rank = rank(i, row.target);
        }
      }
    }
  }

  private void takeTops(Row row, int index) {
    row.topCount = Math.min(row.tops, vocabulary);
    if (row.topCount == 0) {
      return;
    }
    float floor = candidates.floorOf(row.topCount, row.peaks);
    select(index, row.peak, 1f, floor, 0, 0, blocks);
    candidates.keepLargest(row.topCount, logits, index * rowBytes);
    ranked.sort(candidates, logits, index * rowBytes);
    for (int place = 0; place < row.topCount; place++) {
      row.topIds[place] = ranked.id(place);
      row.topLogprobs[place] = (float) (ranked.logit(place) - row.normalizer);
    }
  }

  private int rank(int index, int target) {
    select(index, rows[index].peak, 1f, logit(index, target), 0, 0, blocks);
    return candidates.count();
  }

  private void adjust() {
    for (int i = 0; i < size; i++) {
      Row row = rows[i];
      Adjustments adjustments = row.adjustments;
      if (adjustments != null
          && row.failure == null
          && adjustments.apply(logits, i * rowBytes, row.tokens, row.length)) {
        scan.peaks(row.peaks, logits, vocabulary, i, 1);
        findPeak(i);
      }
    }
  }

  /** Block sums of the rows whose whole distribution matters; in order, as {@link #finish} goes. */
  private void weigh() {
    int count = 0;
    for (int i = 0; i < size; i++) {
      Row row = rows[i];
      Sampling sampling = row.sampling;
      if (sampling != null && row.failure == null && weighsAll(sampling)) {
        view(count++, i, row.peak, inverse(sampling), floor(row, sampling));
        row.weighed = count - 1;
      }
    }
    if (count > 0) {
      scan.weigh(weights, logits, vocabulary, views, count);
    }
  }

  private void finish(Row row, int index) {
    Sampling sampling = row.sampling;
    if (sampling == null) {
      row.token = row.target;
    } else if (sampling.temperature() == 0f) {
      row.token = row.best;
    } else {
      row.token = drawn(row, index, sampling);
    }
    if (row.adjustments != null) {
      row.adjustments.restore(logits, index * rowBytes);
    }
    if (row.tops >= 0) {
      row.logprob = (float) (logit(index, row.token) - row.normalizer);
    }
  }

  private int drawn(Row row, int index, Sampling sampling) {
    double uniform = Philox.uniform(sampling.seed(), row.index, counter);
    float inverse = inverse(sampling);
    float floor = floor(row, sampling);
    if (!weighsAll(sampling)) {
      floor = Math.max(floor, candidates.floorOf(sampling.topK(), row.peaks));
      select(index, row.peak, inverse, floor, 0, 0, blocks);
      candidates.keepLargest(sampling.topK(), logits, index * rowBytes);
      if (sampling.topP() < 1f) {
        candidates.keepMass(share(sampling, candidates.mass()));
      }
      return candidates.tokenAt(target(uniform, candidates.mass()));
    }
    long sums = (long) row.weighed * blocks * Long.BYTES;
    long total = 0;
    for (int block = 0; block < blocks; block++) {
      total += weights.get(JAVA_LONG_UNALIGNED, sums + (long) block * Long.BYTES);
    }
    if (sampling.topP() < 1f) {
      return drawnOfNucleus(row, index, sampling, total, uniform);
    }
    long target = target(uniform, total);
    int block = 0;
    long sum = weights.get(JAVA_LONG_UNALIGNED, sums);
    while (sum <= target) {
      target -= sum;
      block++;
      sum = weights.get(JAVA_LONG_UNALIGNED, sums + (long) block * Long.BYTES);
    }
    select(index, row.peak, inverse, floor, 1, block, block + 1);
    return candidates.tokenAt(target);
  }

  private int drawnOfNucleus(Row row, int index, Sampling sampling, long total, double uniform) {
    double tail = (1 - (double) sampling.topP()) * total / vocabulary / 2;
    int least = (int) Math.max(1, Math.min(tail, LogitScan.ONE));
    double lowest =
        row.peak
            + (StrictMath.log((double) least / LogitScan.ONE) - FLOOR_MARGIN) / inverse(sampling);
    float floor = Math.max(floor(row, sampling), (float) lowest);
    select(index, row.peak, inverse(sampling), floor, least, 0, blocks);
    candidates.keepMass(share(sampling, total));
    return candidates.tokenAt(target(uniform, candidates.mass()));
  }

  /** Whether the row's whole distribution matters, not the k likeliest alone. */
  private boolean weighsAll(Sampling sampling) {
    return sampling.temperature() > 0f && (sampling.topK() == 0 || sampling.topK() >= vocabulary);
  }

  private static float inverse(Sampling sampling) {
    return Math.min(1f / sampling.temperature(), MOST_INVERSE);
  }

  private static float floor(Row row, Sampling sampling) {
    return sampling.minP() == 0f
        ? Float.NEGATIVE_INFINITY
        : (float) (row.peak + sampling.temperature() * StrictMath.log(sampling.minP()));
  }

  private static long share(Sampling sampling, long total) {
    return Math.clamp((long) Math.ceil(sampling.topP() * (double) total), 1, total);
  }

  /** {@code uniform * total} can round up to the total. */
  private static long target(double uniform, long total) {
    return Math.min((long) (uniform * total), total - 1);
  }

  private void select(
      int index, float peak, float inverse, float floor, int least, int blockFrom, int blockTo) {
    view(0, index, peak, inverse, floor);
    candidates.select(scan, logits, rows[index].peaks, views, least, blockFrom, blockTo);
  }

  private void view(int at, int row, float peak, float inverse, float floor) {
    long from = (long) at * LogitScan.VIEW_BYTES;
    views.set(JAVA_INT_UNALIGNED, from, row);
    views.set(JAVA_FLOAT_UNALIGNED, from + 4, peak);
    views.set(JAVA_FLOAT_UNALIGNED, from + 8, inverse);
    views.set(JAVA_FLOAT_UNALIGNED, from + 12, floor);
  }

  private float logit(int row, int id) {
    return logits.get(JAVA_FLOAT_UNALIGNED, row * rowBytes + (long) id * Float.BYTES);
  }

  private EngineException unusable(int row, int block) {
    int id = block * LogitScan.BLOCK;
    while (logit(row, id) < Float.POSITIVE_INFINITY) {
      id++;
    }
    return unusable("logit of token %d: %s".formatted(id, logit(row, id)));
  }

  private static EngineException unusable(String what) {
    return new EngineException(Kind.INTERNAL, what + " (expected: finite)");
  }
}
