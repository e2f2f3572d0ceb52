package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.Trial;
import dev.baton.device.WeightSlice;
import dev.baton.device.reference.ReferenceDevice;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Conversion of checkpoint data by every tier. */
class WeightsTest {

  private static final String TIERS = "dev.baton.device.cpu.Tiers#running";

  private static MemorySegment everyHalf(Arena arena) {
    // At an odd address, as a checkpoint's tensors may lie.
    MemorySegment data = arena.allocate(2 * 65536 + 1, 8).asSlice(1, 2 * 65536);
    for (int i = 0; i < 65536; i++) {
      data.set(JAVA_SHORT_UNALIGNED, 2L * i, (short) i);
    }
    return data;
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void everyHalfPrecisionPatternConvertsAsInTheReference(String tier) {
    try (Device cpu = Tiers.open(tier);
        Device reference = ReferenceDevice.open();
        Arena arena = Arena.ofConfined()) {
      for (DType from : new DType[] {DType.FLOAT16, DType.BFLOAT16}) {
        WeightSlice slice = new WeightSlice(everyHalf(arena), from, 256, 256, 0, 256, 0, 256);
        for (DType to : new DType[] {DType.FLOAT32, DType.BFLOAT16}) {
          Trial.assertSameBits(
              Trial.bits(cpu.convert(slice, to)),
              Trial.bits(reference.convert(slice, to)),
              from + " to " + to);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void floatsRoundToBfloat16AsInTheReference(String tier) {
    Trial trial = Trial.named("rounding, " + tier);
    float[] values = new float[40_000];
    for (int i = 0; i < values.length; i++) {
      values[i] = Float.intBitsToFloat(trial.random.nextInt());
    }
    // Ties, the largest values, and NaNs whose fraction is all low bits.
    int[] edges = {0x3f808000, 0x3f818000, 0x7f7fffff, 0xff7fffff, 0x7f800001, 0xffffffff, 1};
    for (int i = 0; i < edges.length; i++) {
      values[i] = Float.intBitsToFloat(edges[i]);
    }
    try (Device cpu = Tiers.open(tier);
        Device reference = ReferenceDevice.open()) {
      WeightSlice slice =
          new WeightSlice(MemorySegment.ofArray(values), DType.FLOAT32, 200, 200, 3, 190, 5, 172);
      Trial.assertSameBits(
          Trial.bits(cpu.convert(slice, DType.BFLOAT16)),
          Trial.bits(reference.convert(slice, DType.BFLOAT16)),
          "rounding");
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void findsTheFirstElementThatIsInfiniteOrNoNumber(String tier) {
    Trial trial = Trial.named("unusable, " + tier);
    float[] bad = {Float.NaN, Float.POSITIVE_INFINITY, -0x1p127f, Float.MAX_VALUE};
    try (Device cpu = Tiers.open(tier);
        Device reference = ReferenceDevice.open()) {
      for (DType dtype : new DType[] {DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16}) {
        for (int columns : new int[] {1, 17, 64, 200, 1000}) {
          float[] values = trial.normal(20L * columns, 1000);
          values[0] = -0f;
          values[1] = dtype == DType.FLOAT16 ? 65504 : 0x1.fep126f;
          WeightSlice good = WeightSlice.whole(Trial.stored(values, dtype), dtype, 20, columns);
          assertThat(cpu.findUnusable(good)).isEqualTo(-1);
          for (int n = 0; n < bad.length; n++) {
            values[trial.between(0, values.length - 1)] = bad[n];
          }
          int from = trial.between(0, columns - 1);
          WeightSlice slice =
              new WeightSlice(
                  Trial.stored(values, dtype), dtype, 20, columns, 2, 19, from, columns);
          assertThat(cpu.findUnusable(slice)).isEqualTo(reference.findUnusable(slice));
          WeightSlice whole = WeightSlice.whole(Trial.stored(values, dtype), dtype, 20, columns);
          assertThat(cpu.findUnusable(whole))
              .isEqualTo(reference.findUnusable(whole))
              .isNotNegative();
        }
      }
    }
  }
}
