package dev.baton.engine.sample;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import dev.baton.device.LogitScan;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * The tokens of one row that are still in the running, by rising id, with their weights. Memory
 * outside the heap is freed with this object. One thread.
 */
final class Candidates {

  private final int vocabulary;
  private final MemorySegment idLists;
  private final MemorySegment weightLists;
  private final MemorySegment counts;
  private final int[] ids;
  private final int[] weights;
  private final int[] keys;
  private final Threshold threshold = new Threshold();
  private int count;

  Candidates(int vocabulary) {
    this.vocabulary = vocabulary;
    int blocks = LogitScan.blocks(vocabulary);
    long listBytes = (long) blocks * LogitScan.BLOCK * Integer.BYTES;
    Arena arena = Arena.ofAuto();
    this.idLists = arena.allocate(listBytes, Integer.BYTES);
    this.weightLists = arena.allocate(listBytes, Integer.BYTES);
    this.counts = arena.allocate((long) blocks * Integer.BYTES, Integer.BYTES);
    this.ids = new int[vocabulary];
    this.weights = new int[vocabulary];
    this.keys = new int[vocabulary];
  }

  int count() {
    return count;
  }

  int id(int index) {
    return ids[index];
  }

  /** Takes what {@link LogitScan#select} finds in blocks {@code [blockFrom, blockTo)}. */
  void select(
      LogitScan scan,
      MemorySegment logits,
      MemorySegment peaks,
      MemorySegment view,
      int least,
      int blockFrom,
      int blockTo) {
    scan.select(
        idLists, weightLists, counts, logits, peaks, vocabulary, view, least, blockFrom, blockTo);
    count = 0;
    for (int block = blockFrom; block < blockTo; block++) {
      int found = counts.get(JAVA_INT_UNALIGNED, (long) block * Integer.BYTES);
      long from = (long) block * LogitScan.BLOCK * Integer.BYTES;
      for (int i = 0; i < found; i++) {
        long at = from + (long) i * Integer.BYTES;
        ids[count] = idLists.get(JAVA_INT_UNALIGNED, at);
        weights[count++] = weightLists.get(JAVA_INT_UNALIGNED, at);
      }
    }
  }

  /**
   * A value that at least {@code wanted} elements of the row reach, and few more: of the blocks'
   * peaks, the one in that place. Minus infinity when there are fewer blocks.
   */
  float floorOf(int wanted, MemorySegment peaks) {
    int blocks = LogitScan.blocks(vocabulary);
    if (wanted > blocks) {
      return Float.NEGATIVE_INFINITY;
    }
    for (int block = 0; block < blocks; block++) {
      keys[block] = Threshold.ordered(peaks.get(JAVA_FLOAT_UNALIGNED, (long) block * Float.BYTES));
    }
    threshold.find(keys, null, blocks, wanted);
    return Threshold.valueOf(threshold.key());
  }

  /** Keeps the {@code wanted} of the largest logits; of equal ones the smaller ids. */
  void keepLargest(int wanted, MemorySegment logits, long rowBytes) {
    if (count <= wanted) {
      return;
    }
    for (int i = 0; i < count; i++) {
      keys[i] = Threshold.ordered(logit(i, logits, rowBytes));
    }
    threshold.find(keys, null, count, wanted);
    trim(keys, threshold.missing());
  }

  /** Keeps the fewest of the largest weights that together reach {@code wanted}. */
  void keepMass(long wanted) {
    threshold.find(weights, weights, count, wanted);
    trim(weights, Math.ceilDiv(threshold.missing(), threshold.key()));
  }

  /** The sum of all weights. */
  long mass() {
    long mass = 0;
    for (int i = 0; i < count; i++) {
      mass += weights[i];
    }
    return mass;
  }

  /** The token at which the weights, summed by rising id, exceed {@code target}. */
  int tokenAt(long target) {
    long sum = 0;
    for (int i = 0; i < count; i++) {
      sum += weights[i];
      if (sum > target) {
        return ids[i];
      }
    }
    throw new IllegalStateException(
        "draw: target %d of %d (expected: less)".formatted(target, sum));
  }

  float logit(int index, MemorySegment logits, long rowBytes) {
    return logits.get(JAVA_FLOAT_UNALIGNED, rowBytes + (long) ids[index] * Float.BYTES);
  }

  /** Keeps what is above the threshold's key, and the first {@code equals} of those at it. */
  private void trim(int[] by, long equals) {
    long left = equals;
    int key = threshold.key();
    int kept = 0;
    for (int i = 0; i < count; i++) {
      int compared = Integer.compareUnsigned(by[i], key);
      if (compared > 0 || (compared == 0 && left-- > 0)) {
        ids[kept] = ids[i];
        weights[kept++] = weights[i];
      }
    }
    count = kept;
  }
}
