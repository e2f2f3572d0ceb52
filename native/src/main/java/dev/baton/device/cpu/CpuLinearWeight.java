package dev.baton.device.cpu;

import dev.baton.device.DType;
import dev.baton.device.LinearWeight;
import java.lang.foreign.MemorySegment;

/**
 * A packed weight shard, {@code [outputs / 16][inputs][16]}, the last group filled up with zeros.
 *
 * @param borders of its canonical ranges from its first input, int32 {@code [ranges + 1]}
 */
record CpuLinearWeight(
    int outputs, int inputs, DType dtype, int ranges, MemorySegment borders, MemorySegment packed)
    implements LinearWeight {

  static final int GROUP = 16;

  static long packedBytes(int outputs, int inputs, DType dtype) {
    return ((long) outputs + GROUP - 1) / GROUP * GROUP * inputs * dtype.bytes();
  }
}
