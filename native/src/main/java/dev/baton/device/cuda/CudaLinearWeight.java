package dev.baton.device.cuda;

import dev.baton.device.LinearWeight;
import dev.baton.device.WeightFormat;
import java.lang.foreign.MemorySegment;

/**
 * A packed weight shard on one GPU: bfloat16 {@code [outputs][packing.pitch()]}.
 *
 * @param memory where it lies
 */
record CudaLinearWeight(int outputs, Packing packing, MemorySegment memory)
    implements LinearWeight {

  /** Rows of weight that a kernel takes together. */
  static final int TILE = 16;

  @Override
  public int inputs() {
    return packing.inputs();
  }

  @Override
  public WeightFormat format() {
    return WeightFormat.BFLOAT16;
  }

  int tiles() {
    return Math.ceilDiv(outputs, TILE);
  }
}
