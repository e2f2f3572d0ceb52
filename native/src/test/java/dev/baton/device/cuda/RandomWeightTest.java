package dev.baton.device.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.baton.device.DType;
import dev.baton.device.Parallelism;
import dev.baton.device.RandomElements;
import dev.baton.device.Trial;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Random weights that the device makes, beside the same ones made here and brought there. */
final class RandomWeightTest {

  private static CudaDevice open() {
    return CudaDevice.open(new CudaOptions(true, List.of(0), 0.05, false), 1);
  }

  private static void compare(
      WeightSlice described, Arena arena, Function<WeightSlice, MemorySegment> use) {
    MemorySegment data =
        arena.allocate(
            (long) described.rows() * described.columns() * described.dtype().bytes(), 8);
    RandomElements elements = java.util.Objects.requireNonNull(described.random());
    elements.fill(data);
    WeightSlice stored =
        new WeightSlice(
            data,
            described.dtype(),
            described.rows(),
            described.columns(),
            described.rowFrom(),
            described.rowTo(),
            described.columnFrom(),
            described.columnTo());
    assertEquals(-1, use.apply(described).mismatch(use.apply(stored)));
  }

  private static WeightSlice described(
      DType dtype, int rows, int columns, int rowFrom, int rowTo, int columnFrom, int columnTo) {
    return new WeightSlice(
        MemorySegment.NULL,
        new RandomElements(dtype, columns, 77),
        dtype,
        rows,
        columns,
        rowFrom,
        rowTo,
        columnFrom,
        columnTo);
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void areTheSameBitsInEveryFormOfAWeight(DType dtype) {
    Trial trial = Trial.named("random weights");
    int rows = trial.between(17, 60);
    int columns = 8 * trial.between(5, 40);
    int rowFrom = trial.between(0, 8);
    try (CudaDevice device = open();
        Arena arena = Arena.ofConfined()) {
      assertEquals(true, device.makesRandom());
      compare(
          described(dtype, rows, columns, rowFrom, rows - 3, 0, columns),
          arena,
          slice -> linear(device, slice, Parallelism.COLUMN));
      compare(
          described(dtype, rows, columns, 0, rows, columns / 2, columns),
          arena,
          slice -> linear(device, slice, Parallelism.ROW));
      compare(
          described(dtype, rows, columns, rowFrom, rows - 2, 0, columns),
          arena,
          slice ->
              ((CudaGatedWeight) device.packGated(slice, slice, WeightFormat.BFLOAT16)).memory());
      compare(
          described(dtype, rows, columns, 1, rows, 0, columns),
          arena,
          slice -> device.convert(slice, DType.BFLOAT16).segment());
    }
  }

  private static MemorySegment linear(CudaDevice device, WeightSlice slice, Parallelism kind) {
    return ((CudaLinearWeight) device.packLinear(slice, WeightFormat.BFLOAT16, kind)).memory();
  }

  @Test
  void longerThanABufferAreMadeInPieces() {
    try (CudaDevice device = open();
        Arena arena = Arena.ofConfined()) {
      compare(
          described(DType.BFLOAT16, 600, 9000, 0, 600, 0, 9000),
          arena,
          slice -> device.convert(slice, DType.BFLOAT16).segment());
    }
  }
}
