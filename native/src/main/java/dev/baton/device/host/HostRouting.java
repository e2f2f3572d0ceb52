package dev.baton.device.host;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.baton.device.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * A {@link dev.baton.device.Routing} in host memory. The choice of experts is a few hundred
 * comparisons a row, next to millions of multiplications in the experts: it is done here, in Java,
 * for every host device.
 */
public final class HostRouting extends CheckedRouting {

  private final int experts;
  private final int chosen;
  private final MemorySegment rowOfSlot;
  private final MemorySegment slots;
  private final MemorySegment weights;
  private final int[] choices;
  private final int[] begins;
  private final float[] scores;
  private final boolean[] taken;

  HostRouting(HostMemory memory, int maxRows, int experts, int chosen) {
    super(maxRows, experts, chosen);
    this.experts = experts;
    this.chosen = chosen;
    int pairs = Math.multiplyExact(maxRows, chosen);
    rowOfSlot = memory.allocate(4L * pairs, "routing");
    slots = memory.allocate(4L * pairs, "routing");
    weights = memory.allocate(4L * pairs, "routing");
    choices = new int[pairs];
    begins = new int[experts + 1];
    scores = new float[experts];
    taken = new boolean[experts];
  }

  /** The first slot of an expert; of the number behind the last one, the end. */
  public int begin(int expert) {
    return begins[expert];
  }

  /** By slot, int32. */
  MemorySegment rowOfSlot() {
    return rowOfSlot;
  }

  /** Where each row's choices stand, int32 {@code [rows, chosen]}. */
  public MemorySegment slots() {
    return slots;
  }

  /** float32 {@code [rows, chosen]}. */
  public MemorySegment weights() {
    return weights;
  }

  void route(Tensor all, int count, boolean normalize) {
    setRows(count);
    Arrays.fill(begins, 0);
    for (int row = 0; row < count; row++) {
      MemorySegment.copy(
          all.segment(), JAVA_FLOAT, row * all.columns() * Float.BYTES, scores, 0, experts);
      choose(row * chosen);
      weigh(row * chosen, normalize);
    }
    sortByExpert(count);
  }

  private void choose(int at) {
    Arrays.fill(taken, false);
    for (int j = 0; j < chosen; j++) {
      int best = -1;
      for (int expert = 0; expert < experts; expert++) {
        if (!taken[expert] && (best < 0 || scores[expert] > scores[best])) {
          best = expert;
        }
      }
      taken[best] = true;
      choices[at + j] = best;
      begins[best + 1]++;
    }
  }

  private void weigh(int at, boolean normalize) {
    float most = scores[choices[at]];
    float total = 0;
    for (int i = 0; i < (normalize ? chosen : experts); i++) {
      total += exp(scores[normalize ? choices[at + i] : i] - most);
    }
    for (int j = 0; j < chosen; j++) {
      weights.setAtIndex(JAVA_FLOAT, at + j, exp(scores[choices[at + j]] - most) / total);
    }
  }

  private static float exp(float x) {
    return (float) StrictMath.exp(x);
  }

  private void sortByExpert(int rows) {
    for (int expert = 0; expert < experts; expert++) {
      begins[expert + 1] += begins[expert];
    }
    for (int pair = 0; pair < rows * chosen; pair++) {
      // Moves each expert's begin to its end; shifted back below.
      int slot = begins[choices[pair]]++;
      slots.setAtIndex(JAVA_INT, pair, slot);
      rowOfSlot.setAtIndex(JAVA_INT, slot, pair / chosen);
    }
    System.arraycopy(begins, 0, begins, 1, experts);
    begins[0] = 0;
  }
}
