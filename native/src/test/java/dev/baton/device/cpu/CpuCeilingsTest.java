package dev.baton.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.WeightFormat;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

class CpuCeilingsTest {

  @Test
  void everyTierMultipliesAsOftenAsAsked() {
    for (String tier : CpuDevice.runningTiers()) {
      CpuCeilings ceilings = new CpuCeilings(new CpuKernels(tier));
      for (WeightFormat format : WeightFormat.values()) {
        long once = ceilings.multiply(format, 1);
        assertThat(once).as("%s, %s", tier, format).isPositive();
        assertThat(ceilings.multiply(format, 3)).isEqualTo(3 * once);
      }
    }
  }

  @Test
  void everyTierReadsAllButTheLastLines() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocate(100_001);
      for (String tier : CpuDevice.runningTiers()) {
        CpuCeilings ceilings = new CpuCeilings(new CpuKernels(tier));
        for (int streams : new int[] {1, 2, 4}) {
          assertThat(ceilings.read(memory, streams)).isBetween(100_001L - 1024, 100_001L);
        }
      }
    }
  }

  @Test
  void refusesAnotherNumberOfStreams() {
    CpuCeilings ceilings = new CpuCeilings(new CpuKernels(CpuDevice.runningTiers().getLast()));
    assertThatThrownBy(() -> ceilings.read(MemorySegment.NULL, 3))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("streams: 3 (expected: 1, 2 or 4)");
  }
}
