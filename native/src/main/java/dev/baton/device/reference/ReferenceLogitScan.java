package dev.baton.device.reference;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import dev.baton.device.LogitScan;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.function.IntUnaryOperator;

/** The passes over logits in plain Java; takes memory of any kind. */
public final class ReferenceLogitScan implements LogitScan {

  /** One view, read from its bytes. */
  private record View(int row, float peak, float inverse, float floor) {

    static View read(MemorySegment views, int index) {
      long at = (long) index * VIEW_BYTES;
      return new View(
          views.get(JAVA_INT_UNALIGNED, at),
          views.get(JAVA_FLOAT_UNALIGNED, at + 4),
          views.get(JAVA_FLOAT_UNALIGNED, at + 8),
          views.get(JAVA_FLOAT_UNALIGNED, at + 12));
    }

    float exponential(float x) {
      return Canonical.exp((x - peak) * inverse);
    }

    int weight(float x) {
      return x < floor ? 0 : (int) Math.fma(exponential(x), ONE, 0.5f);
    }
  }

  @Override
  public void peaks(
      MemorySegment best,
      MemorySegment peaks,
      MemorySegment logits,
      int width,
      int rowFrom,
      int rows) {
    int blocks = LogitScan.blocks(width);
    for (int i = 0; i < rows; i++) {
      putBest(best.asSlice((long) i * BEST_BYTES), logits, width, rowFrom + i);
      for (int block = 0; block < blocks; block++) {
        float peak = Float.NEGATIVE_INFINITY;
        boolean usable = true;
        for (int c = block * BLOCK; c < Math.min(width, (block + 1) * BLOCK); c++) {
          float x = element(logits, width, rowFrom + i, c);
          usable &= x < Float.POSITIVE_INFINITY;
          peak = Canonical.max(x, peak);
        }
        put(peaks, (long) i * blocks + block, usable ? peak + 0f : Float.NaN);
      }
    }
  }

  @Override
  public void exponentials(
      MemorySegment sums, MemorySegment logits, int width, MemorySegment views, int count) {
    int blocks = LogitScan.blocks(width);
    for (int i = 0; i < count; i++) {
      View view = View.read(views, i);
      for (int block = 0; block < blocks; block++) {
        float[] lanes = new float[Canonical.LANES];
        for (int c = block * BLOCK; c < Math.min(width, (block + 1) * BLOCK); c++) {
          lanes[c % Canonical.LANES] += view.exponential(element(logits, width, view.row(), c));
        }
        put(sums, (long) i * blocks + block, Canonical.laneSum(lanes));
      }
    }
  }

  private static void putBest(MemorySegment best, MemorySegment logits, int width, int row) {
    int at = 0;
    for (int c = 0; c < width; c++) {
      float x = element(logits, width, row, c);
      if (!(x < Float.POSITIVE_INFINITY)) {
        put(best, 0, Float.NaN);
        best.set(JAVA_INT_UNALIGNED, Float.BYTES, c);
        return;
      }
      at = x > element(logits, width, row, at) ? c : at;
    }
    put(best, 0, element(logits, width, row, at) + 0f);
    best.set(JAVA_INT_UNALIGNED, Float.BYTES, at);
  }

  @Override
  public void draw(
      MemorySegment tokens,
      MemorySegment logits,
      MemorySegment peaks,
      int width,
      MemorySegment sums,
      MemorySegment draws,
      int count) {
    for (int i = 0; i < count; i++) {
      MemorySegment draw = draws.asSlice((long) i * DRAW_BYTES, DRAW_BYTES);
      tokens.set(JAVA_INT_UNALIGNED, (long) i * Integer.BYTES, draw(draw, logits, width));
    }
  }

  /** Everything sorted, nothing skipped. */
  private static int draw(MemorySegment draw, MemorySegment logits, int width) {
    View view = View.read(draw, 0);
    int topK = draw.get(JAVA_INT_UNALIGNED, VIEW_BYTES);
    float topP = draw.get(JAVA_FLOAT_UNALIGNED, VIEW_BYTES + 4);
    double uniform = draw.get(JAVA_DOUBLE_UNALIGNED, VIEW_BYTES + 8);
    int[] weights = new int[width];
    for (int c = 0; c < width; c++) {
      weights[c] = view.weight(element(logits, width, view.row(), c));
    }
    if (topK > 0 && topK < width) {
      int[] largest = order(width, c -> sortable(element(logits, width, view.row(), c)));
      for (int rank = topK; rank < width; rank++) {
        weights[largest[rank]] = 0;
      }
    }
    long total = sum(weights);
    if (topP < 1f) {
      int[] heaviest = order(width, c -> weights[c]);
      long left = Math.clamp((long) Math.ceil(topP * (double) total), 1, total);
      for (int each : heaviest) {
        int weight = weights[each];
        weights[each] = left > 0 ? weight : 0;
        left -= weight;
      }
      total = sum(weights);
    }
    long target = Math.min((long) (uniform * total), total - 1);
    int token = 0;
    while (target >= weights[token]) {
      target -= weights[token++];
    }
    return token;
  }

  /** The numbers 0 to width - 1 by falling key; those of equal keys by rising number. */
  private static int[] order(int width, IntUnaryOperator key) {
    long[] keyed = new long[width];
    for (int c = 0; c < width; c++) {
      keyed[c] = ~(long) key.applyAsInt(c) << Integer.SIZE | c;
    }
    Arrays.sort(keyed);
    int[] order = new int[width];
    Arrays.setAll(order, rank -> (int) keyed[rank]);
    return order;
  }

  /** A whole number that is larger for larger floats; both zeros are equal. */
  private static int sortable(float value) {
    int bits = Float.floatToRawIntBits(value + 0f);
    return bits < 0 ? ~bits ^ Integer.MIN_VALUE : bits;
  }

  private static long sum(int[] weights) {
    long sum = 0;
    for (int weight : weights) {
      sum += weight;
    }
    return sum;
  }

  @Override
  public void rank(
      MemorySegment ids,
      MemorySegment reached,
      MemorySegment logits,
      MemorySegment peaks,
      int width,
      MemorySegment rankings,
      int count,
      int most) {
    for (int i = 0; i < count; i++) {
      long at = (long) i * RANKING_BYTES;
      int row = rankings.get(JAVA_INT_UNALIGNED, at);
      int top = rankings.get(JAVA_INT_UNALIGNED, at + 8);
      float floor = rankings.get(JAVA_FLOAT_UNALIGNED, at + 12);
      int[] order = order(width, c -> sortable(element(logits, width, row, c)));
      for (int place = 0; place < top; place++) {
        ids.set(JAVA_INT_UNALIGNED, ((long) i * most + place) * Integer.BYTES, order[place]);
      }
      int found = 0;
      for (int c = 0; c < width; c++) {
        found += element(logits, width, row, c) >= floor ? 1 : 0;
      }
      reached.set(JAVA_INT_UNALIGNED, (long) i * Integer.BYTES, found);
    }
  }

  private static float element(MemorySegment logits, int width, int row, int column) {
    return logits.get(JAVA_FLOAT_UNALIGNED, ((long) row * width + column) * Float.BYTES);
  }

  private static void put(MemorySegment to, long index, float value) {
    to.set(JAVA_FLOAT_UNALIGNED, index * Float.BYTES, value);
  }
}
