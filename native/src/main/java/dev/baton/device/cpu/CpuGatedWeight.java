package dev.baton.device.cpu;

import dev.baton.device.GatedWeight;
import dev.baton.device.WeightFormat;
import org.jspecify.annotations.Nullable;

/**
 * A gate and what it lets through, packed as one weight: of each pair of groups of sixteen outputs
 * the first is the gate's, the second the other's. Quantized ones are two weights.
 *
 * @param outputs of each
 * @param first both, or the gate
 * @param second null, or what the gate lets through
 */
record CpuGatedWeight(int outputs, CpuLinearWeight first, @Nullable CpuLinearWeight second)
    implements GatedWeight {

  @Override
  public int inputs() {
    return first.inputs();
  }

  @Override
  public WeightFormat format() {
    return first.format();
  }
}
