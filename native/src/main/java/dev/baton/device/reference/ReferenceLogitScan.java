package dev.baton.device.reference;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.baton.device.LogitScan;
import java.lang.foreign.MemorySegment;

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
  public void peaks(MemorySegment peaks, MemorySegment logits, int width, int rowFrom, int rows) {
    int blocks = LogitScan.blocks(width);
    for (int i = 0; i < rows; i++) {
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

  @Override
  public void weigh(
      MemorySegment sums, MemorySegment logits, int width, MemorySegment views, int count) {
    int blocks = LogitScan.blocks(width);
    for (int i = 0; i < count; i++) {
      View view = View.read(views, i);
      for (int block = 0; block < blocks; block++) {
        long sum = 0;
        for (int c = block * BLOCK; c < Math.min(width, (block + 1) * BLOCK); c++) {
          sum += view.weight(element(logits, width, view.row(), c));
        }
        sums.set(JAVA_LONG_UNALIGNED, ((long) i * blocks + block) * Long.BYTES, sum);
      }
    }
  }

  @Override
  public void select(
      MemorySegment ids,
      MemorySegment weights,
      MemorySegment counts,
      MemorySegment logits,
      MemorySegment peaks,
      int width,
      MemorySegment view,
      int least,
      int blockFrom,
      int blockTo) {
    View seen = View.read(view, 0);
    for (int block = blockFrom; block < blockTo; block++) {
      int count = 0;
      float peak = peaks.get(JAVA_FLOAT_UNALIGNED, (long) block * Float.BYTES);
      int end = peak < seen.floor() ? 0 : Math.min(width, (block + 1) * BLOCK);
      for (int c = block * BLOCK; c < end; c++) {
        float x = element(logits, width, seen.row(), c);
        int weight = seen.weight(x);
        if (!(x < seen.floor()) && weight >= least) {
          long at = ((long) block * BLOCK + count++) * Integer.BYTES;
          ids.set(JAVA_INT_UNALIGNED, at, c);
          weights.set(JAVA_INT_UNALIGNED, at, weight);
        }
      }
      counts.set(JAVA_INT_UNALIGNED, (long) block * Integer.BYTES, count);
    }
  }

  private static float element(MemorySegment logits, int width, int row, int column) {
    return logits.get(JAVA_FLOAT_UNALIGNED, ((long) row * width + column) * Float.BYTES);
  }

  private static void put(MemorySegment to, long index, float value) {
    to.set(JAVA_FLOAT_UNALIGNED, index * Float.BYTES, value);
  }
}
