package dev.baton.device.host;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.DType;
import dev.baton.device.Parallelism;
import dev.baton.device.WeightSlice;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

class CanonicalRangesTest {

  private static int[] of(int columns, int from, int to) {
    MemorySegment data = MemorySegment.ofArray(new float[columns]);
    WeightSlice slice = new WeightSlice(data, DType.FLOAT32, 1, columns, 0, 1, from, to);
    return CanonicalRanges.of(slice, Parallelism.ROW);
  }

  @Test
  void aWholeWeightHasEightRanges() {
    assertThat(of(172, 0, 172)).containsExactly(0, 21, 43, 64, 86, 107, 129, 150, 172);
  }

  @Test
  void aColumnParallelWeightIsOneRange() {
    MemorySegment data = MemorySegment.ofArray(new float[172]);
    WeightSlice slice = WeightSlice.whole(data, DType.FLOAT32, 1, 172);
    assertThat(CanonicalRanges.of(slice, Parallelism.COLUMN)).containsExactly(0, 172);
  }

  @Test
  void aSliceKeepsTheBordersOfTheWhole() {
    assertThat(of(172, 86, 172)).containsExactly(0, 21, 43, 64, 86);
    assertThat(of(172, 129, 150)).containsExactly(0, 21);
  }

  @Test
  void aWidthBelowEightHasEmptyRanges() {
    assertThat(of(3, 0, 3)).containsExactly(0, 0, 0, 1, 1, 1, 2, 2, 3);
  }
}
