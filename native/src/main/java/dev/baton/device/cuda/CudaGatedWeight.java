package dev.baton.device.cuda;

import dev.baton.device.GatedWeight;
import dev.baton.device.WeightFormat;
import java.lang.foreign.MemorySegment;

/**
 * A gate and what it lets through on one GPU, eight rows of one and eight of the other by turns:
 * bfloat16 {@code [ceil(outputs / 8)][2][8][packing.pitch()]}.
 *
 * @param memory where it lies
 */
record CudaGatedWeight(int outputs, Packing packing, MemorySegment memory) implements GatedWeight {

  /** Rows of each that lie together. */
  static final int GROUP = 8;

  @Override
  public int inputs() {
    return packing.inputs();
  }

  @Override
  public WeightFormat format() {
    return WeightFormat.BFLOAT16;
  }

  int tiles() {
    return Math.ceilDiv(outputs, GROUP);
  }

  /** Bytes of a weight of so many outputs. */
  static long bytes(int outputs, Packing packing) {
    return packing.bytes(2L * GROUP * Math.ceilDiv(outputs, GROUP));
  }
}
