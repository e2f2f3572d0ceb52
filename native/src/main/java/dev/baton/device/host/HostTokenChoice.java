package dev.baton.device.host;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import dev.baton.device.LogitScan;
import dev.baton.device.TokenChoice;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * Chooses tokens by passes over logits in host memory: all rows of a step together, each read once
 * for its blocks' peaks and once more when it is drawn from. Rows with changes are changed for a
 * while. Memory is freed with this object.
 */
public final class HostTokenChoice implements TokenChoice {

  private static final int FIRST_CHANGES = 64;

  private final LogitScan scan;
  private final int vocabulary;
  private final int blocks;
  private final long rowBytes;
  private final Arena arena = Arena.ofAuto();
  private final MemorySegment orders;
  private final MemorySegment results;
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

  /** Of each row: its best and its peaks; made once, for a step makes no objects. */
  private final MemorySegment[] rowBest;

  private final MemorySegment[] rowPeaks;
  private MemorySegment changes;

  /** What the changes have overwritten. */
  private float[] overwritten = new float[FIRST_CHANGES];

  private MemorySegment logits = MemorySegment.NULL;

  /**
   * @param maxRows most rows of a step
   */
  public HostTokenChoice(LogitScan scan, int vocabulary, int maxRows) {
    this.scan = scan;
    this.vocabulary = vocabulary;
    this.blocks = LogitScan.blocks(vocabulary);
    this.rowBytes = (long) vocabulary * Float.BYTES;
    long all = (long) maxRows * blocks;
    orders = memory(maxRows, ORDER_BYTES);
    results = memory(maxRows, RESULT_BYTES);
    changes = memory(FIRST_CHANGES, CHANGE_BYTES);
    best = memory(maxRows, LogitScan.BEST_BYTES);
    peaks = memory(all, Float.BYTES);
    views = memory(maxRows, LogitScan.VIEW_BYTES);
    exponentials = memory(all, Float.BYTES);
    draws = memory(maxRows, LogitScan.DRAW_BYTES);
    sums = memory(all, Long.BYTES);
    tokens = memory(maxRows, Integer.BYTES);
    rankings = memory(maxRows, LogitScan.RANKING_BYTES);
    topIds = memory(maxRows, MOST_TOPS * Integer.BYTES);
    reached = memory(maxRows, Integer.BYTES);
    rowBest = new MemorySegment[maxRows];
    rowPeaks = new MemorySegment[maxRows];
    long peakBytes = (long) blocks * Float.BYTES;
    for (int row = 0; row < maxRows; row++) {
      rowBest[row] = best.asSlice((long) row * LogitScan.BEST_BYTES, LogitScan.BEST_BYTES);
      rowPeaks[row] = peaks.asSlice(row * peakBytes, peakBytes);
    }
  }

  private MemorySegment memory(long count, int bytes) {
    return arena.allocate(count * bytes, Long.BYTES);
  }

  @Override
  public MemorySegment orders() {
    return orders;
  }

  @Override
  public MemorySegment changes(int count) {
    if ((long) count * CHANGE_BYTES > changes.byteSize()) {
      MemorySegment larger = memory(Math.max(count, 2L * overwritten.length), CHANGE_BYTES);
      larger.copyFrom(changes);
      changes = larger;
      overwritten = Arrays.copyOf(overwritten, (int) (larger.byteSize() / CHANGE_BYTES));
    }
    return changes;
  }

  @Override
  public MemorySegment results() {
    return results;
  }

  @Override
  public void choose(MemorySegment stepLogits, int rows) {
    if (rows == 0) {
      return;
    }
    logits = stepLogits;
    scan.peaks(best, peaks, logits, vocabulary, 0, rows);
    for (int row = 0; row < rows; row++) {
      results.set(
          JAVA_FLOAT_UNALIGNED, result(row) + PEAK, rowBest[row].get(JAVA_FLOAT_UNALIGNED, 0));
      results.set(
          JAVA_INT_UNALIGNED, result(row) + NUMBER, rowBest[row].get(JAVA_INT_UNALIGNED, 4));
      takeChangedBest(row);
    }
    tellLikelihoods(rows);
    for (int row = 0; row < rows; row++) {
      if (order(row, CHANGES) > 0 && usable(row)) {
        change(row);
        scan.peaks(rowBest[row], rowPeaks[row], logits, vocabulary, row, 1);
        takeChangedBest(row);
      }
    }
    draw(rows);
    for (int row = 0; row < rows; row++) {
      if (usable(row)) {
        finish(row);
      }
    }
  }

  private static long order(int row) {
    return (long) row * ORDER_BYTES;
  }

  private static long result(int row) {
    return (long) row * RESULT_BYTES;
  }

  private int order(int row, int field) {
    return orders.get(JAVA_INT_UNALIGNED, order(row) + field);
  }

  private float orderFloat(int row, int field) {
    return orders.get(JAVA_FLOAT_UNALIGNED, order(row) + field);
  }

  private float rawPeak(int row) {
    return results.get(JAVA_FLOAT_UNALIGNED, result(row) + PEAK);
  }

  private float changedPeak(int row) {
    return results.get(JAVA_FLOAT_UNALIGNED, result(row) + CHANGED_PEAK);
  }

  /** Whether the raw row has a finite maximum. */
  private boolean usable(int row) {
    return rawPeak(row) > Float.NEGATIVE_INFINITY;
  }

  private void takeChangedBest(int row) {
    results.set(
        JAVA_FLOAT_UNALIGNED,
        result(row) + CHANGED_PEAK,
        rowBest[row].get(JAVA_FLOAT_UNALIGNED, 0));
    results.set(JAVA_INT_UNALIGNED, result(row) + TOKEN, rowBest[row].get(JAVA_INT_UNALIGNED, 4));
  }

  /** Sums and likeliest tokens of the raw logits, before anything is changed. */
  private void tellLikelihoods(int rows) {
    int count = 0;
    for (int row = 0; row < rows; row++) {
      if (order(row, TOPS) >= 0 && usable(row)) {
        long view = (long) count * LogitScan.VIEW_BYTES;
        writeView(views, view, row, rawPeak(row), 1f, Float.NEGATIVE_INFINITY);
        writeRanking((long) count++ * LogitScan.RANKING_BYTES, row);
      }
    }
    if (count == 0) {
      return;
    }
    scan.exponentials(exponentials, logits, vocabulary, views, count);
    scan.rank(topIds, reached, logits, peaks, vocabulary, rankings, count, MOST_TOPS);
    for (int at = 0; at < count; at++) {
      int row = views.get(JAVA_INT_UNALIGNED, (long) at * LogitScan.VIEW_BYTES);
      double sum = 0;
      for (int block = 0; block < blocks; block++) {
        sum += exponentials.get(JAVA_FLOAT_UNALIGNED, ((long) at * blocks + block) * Float.BYTES);
      }
      results.set(JAVA_DOUBLE_UNALIGNED, result(row) + SUM, sum);
      results.set(
          JAVA_INT_UNALIGNED,
          result(row) + RANK,
          reached.get(JAVA_INT_UNALIGNED, (long) at * Integer.BYTES));
      takeTops(row, at);
    }
  }

  private void writeRanking(long at, int row) {
    rankings.set(JAVA_INT_UNALIGNED, at, row);
    rankings.set(JAVA_FLOAT_UNALIGNED, at + 4, rawPeak(row));
    rankings.set(JAVA_INT_UNALIGNED, at + 8, tops(row));
    float floor =
        order(row, KIND) == SCORE ? logit(row, order(row, TARGET)) : Float.POSITIVE_INFINITY;
    rankings.set(JAVA_FLOAT_UNALIGNED, at + 12, floor);
  }

  private int tops(int row) {
    return Math.min(order(row, TOPS), vocabulary);
  }

  private void takeTops(int row, int at) {
    for (int place = 0; place < tops(row); place++) {
      int id = topIds.get(JAVA_INT_UNALIGNED, ((long) at * MOST_TOPS + place) * Integer.BYTES);
      results.set(JAVA_INT_UNALIGNED, result(row) + TOP_IDS + 4L * place, id);
      results.set(JAVA_FLOAT_UNALIGNED, result(row) + TOP_LOGITS + 4L * place, logit(row, id));
    }
  }

  private void change(int row) {
    float repetition = orderFloat(row, REPETITION);
    float frequency = orderFloat(row, FREQUENCY);
    float presence = orderFloat(row, PRESENCE);
    int from = order(row, CHANGES_FROM);
    for (int i = from; i < from + order(row, CHANGES); i++) {
      long at = (long) i * CHANGE_BYTES;
      long place = row * rowBytes + changes.get(JAVA_INT_UNALIGNED, at) * (long) Float.BYTES;
      int flags = changes.get(JAVA_INT_UNALIGNED, at + 12);
      float logit = logits.get(JAVA_FLOAT_UNALIGNED, place);
      overwritten[i] = logit;
      if ((flags & BIASED) != 0) {
        logit += changes.get(JAVA_FLOAT_UNALIGNED, at + 4);
      }
      if ((flags & SEEN) != 0) {
        logit = logit > 0 ? logit / repetition : logit * repetition;
        int generated = changes.get(JAVA_INT_UNALIGNED, at + 8);
        if (generated > 0) {
          logit -= frequency * generated;
          logit -= presence;
        }
      }
      if ((flags & MASKED) != 0) {
        logit = Float.NEGATIVE_INFINITY;
      }
      logits.set(JAVA_FLOAT_UNALIGNED, place, logit);
    }
  }

  private void restore(int row) {
    int from = order(row, CHANGES_FROM);
    for (int i = from; i < from + order(row, CHANGES); i++) {
      int id = changes.get(JAVA_INT_UNALIGNED, (long) i * CHANGE_BYTES);
      logits.set(JAVA_FLOAT_UNALIGNED, row * rowBytes + (long) id * Float.BYTES, overwritten[i]);
    }
  }

  private void draw(int rows) {
    int count = 0;
    for (int row = 0; row < rows; row++) {
      float peak = changedPeak(row);
      if (order(row, KIND) == DRAW && usable(row) && peak > Float.NEGATIVE_INFINITY) {
        long at = (long) count++ * LogitScan.DRAW_BYTES;
        float floor = (float) (peak + orders.get(JAVA_DOUBLE_UNALIGNED, order(row) + BELOW));
        writeView(draws, at, row, peak, orderFloat(row, INVERSE), floor);
        draws.set(JAVA_INT_UNALIGNED, at + LogitScan.VIEW_BYTES, order(row, TOP_K));
        draws.set(JAVA_FLOAT_UNALIGNED, at + LogitScan.VIEW_BYTES + 4, orderFloat(row, TOP_P));
        double uniform = orders.get(JAVA_DOUBLE_UNALIGNED, order(row) + UNIFORM);
        draws.set(JAVA_DOUBLE_UNALIGNED, at + LogitScan.VIEW_BYTES + 8, uniform);
      }
    }
    if (count > 0) {
      scan.draw(tokens, logits, peaks, vocabulary, sums, draws, count);
    }
    for (int at = 0; at < count; at++) {
      int row = draws.get(JAVA_INT_UNALIGNED, (long) at * LogitScan.DRAW_BYTES);
      int token = tokens.get(JAVA_INT_UNALIGNED, (long) at * Integer.BYTES);
      results.set(JAVA_INT_UNALIGNED, result(row) + TOKEN, token);
    }
  }

  private static void writeView(
      MemorySegment to, long at, int row, float peak, float inverse, float floor) {
    to.set(JAVA_INT_UNALIGNED, at, row);
    to.set(JAVA_FLOAT_UNALIGNED, at + 4, peak);
    to.set(JAVA_FLOAT_UNALIGNED, at + 8, inverse);
    to.set(JAVA_FLOAT_UNALIGNED, at + 12, floor);
  }

  private void finish(int row) {
    restore(row);
    if (order(row, KIND) == SCORE) {
      results.set(JAVA_INT_UNALIGNED, result(row) + TOKEN, order(row, TARGET));
    }
    int token = results.get(JAVA_INT_UNALIGNED, result(row) + TOKEN);
    results.set(JAVA_FLOAT_UNALIGNED, result(row) + LOGIT, logit(row, token));
  }

  private float logit(int row, int id) {
    return logits.get(JAVA_FLOAT_UNALIGNED, row * rowBytes + (long) id * Float.BYTES);
  }
}
