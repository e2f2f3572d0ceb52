package dev.baton.device.cpu;

import dev.baton.device.WeightFormat;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * What the processor does at best with a tier's instructions, for measurements to be held against.
 * Each call works on the calling thread alone: run it on as many threads as there are processors
 * and add up. From {@link CpuDevice#ceilings}; any thread may call.
 */
public final class CpuCeilings {

  private final CpuKernels kernels;

  CpuCeilings(CpuKernels kernels) {
    this.kernels = kernels;
  }

  /**
   * Multiplies for a while, with operands that stay in registers.
   *
   * @param weights whose products are meant: bytes are multiplied for both quantized formats
   * @param rounds each takes some microseconds or less
   * @return operations done; a multiplication and an addition are two
   */
  public long multiply(WeightFormat weights, long rounds) {
    int arithmetic =
        switch (weights) {
          case FLOAT32 -> 0;
          case BFLOAT16 -> 1;
          case INT8, INT4 -> 2;
        };
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment done = arena.allocate(ValueLayout.JAVA_LONG, 2);
      kernels.multiplyPeak(arithmetic, rounds, done);
      return done.getAtIndex(ValueLayout.JAVA_LONG, 0);
    }
  }

  /**
   * Reads memory once.
   *
   * @param streams places at which reading goes on side by side: 1, 2 or 4
   * @return bytes read: all, but for less than a KiB
   */
  public long read(MemorySegment memory, int streams) {
    if (streams != 1 && streams != 2 && streams != 4) {
      throw new IllegalArgumentException("streams: %d (expected: 1, 2 or 4)".formatted(streams));
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment done = arena.allocate(ValueLayout.JAVA_LONG, 2);
      kernels.readMemory(memory, memory.byteSize(), streams, done);
      return done.getAtIndex(ValueLayout.JAVA_LONG, 0);
    }
  }
}
