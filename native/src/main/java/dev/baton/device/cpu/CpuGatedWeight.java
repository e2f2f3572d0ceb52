package dev.baton.device.cpu;

import dev.baton.device.GatedWeight;
import dev.baton.device.WeightFormat;

/**
 * A gate and what it lets through, packed as one weight: of each pair of groups of sixteen outputs
 * the first is the gate's, the second the other's.
 *
 * @param outputs of each
 */
record CpuGatedWeight(int outputs, CpuLinearWeight both) implements GatedWeight {

  @Override
  public int inputs() {
    return both.inputs();
  }

  @Override
  public WeightFormat format() {
    return both.format();
  }
}
