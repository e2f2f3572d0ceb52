package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;
import static org.assertj.core.api.Assertions.within;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.GatedWeight;
import dev.baton.device.LinearWeight;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.Projection;
import dev.baton.device.Tensor;
import dev.baton.device.Trial;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

/** Products that cuBLASLt computes, an emulated one: the values of our own kernels. */
final class LibraryProductTest {

  private static final int ROWS = Products.LIBRARY_ROWS + 6;

  /** Ranges of several lengths, and filling behind each. */
  private static final int INPUTS = 75;

  private static final int OUTPUTS = 43;

  /** All kinds of products one after the other, on one device. */
  private static List<float[]> run(boolean library, int rows, long seed) {
    Random trial = new Random(seed);
    try (Arena arena = Arena.ofConfined();
        CudaDevice device =
            CudaDevice.open(new CudaOptions(true, List.of(0), 0.1, true, library), 1)) {
      Ops ops = device.openRanks(1).getFirst();
      Tensor x = tensor(device, arena, normal(trial, rows * INPUTS, 1), rows, INPUTS);
      Tensor bias = tensor(device, arena, normal(trial, OUTPUTS, 1), 1, OUTPUTS);
      LinearWeight first = linear(device, arena, trial, OUTPUTS, INPUTS, Parallelism.COLUMN);
      LinearWeight second = linear(device, arena, trial, 9, INPUTS, Parallelism.COLUMN);
      GatedWeight gated =
          device.packGated(
              slice(arena, trial, OUTPUTS, INPUTS),
              slice(arena, trial, OUTPUTS, INPUTS),
              WeightFormat.BFLOAT16);
      LinearWeight down = linear(device, arena, trial, INPUTS, OUTPUTS, Parallelism.ROW);
      Tensor out = device.allocate(DType.FLOAT32, rows, OUTPUTS);
      Tensor narrow = device.allocate(DType.FLOAT32, rows, 9);
      Tensor inner = device.allocate(DType.FLOAT32, rows, OUTPUTS);
      Tensor scratch = device.allocate(DType.FLOAT32, rows, INPUTS);
      List<float[]> results = new ArrayList<>();
      // Twice: from the second time on what is gated is rounded for the product behind it.
      for (int round = 0; round < 2; round++) {
        ops.linear(
            List.of(new Projection(out, first, bias), new Projection(narrow, second, null)),
            x,
            null,
            rows);
        ops.gated(inner, x, null, gated, bias, null, rows);
        ops.addLinear(x, inner, down, null, scratch, rows);
        for (Tensor each : List.of(out, narrow, inner, x)) {
          results.add(floats(device, each));
        }
      }
      return results;
    }
  }

  private static float[] normal(Random random, int count, float scale) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian() * scale;
    }
    return values;
  }

  private static Tensor tensor(Device device, Arena arena, float[] values, int rows, int columns) {
    Tensor tensor = device.allocate(DType.FLOAT32, rows, columns);
    device.upload(tensor, 0, arena.allocateFrom(JAVA_FLOAT, values));
    return tensor;
  }

  private static WeightSlice slice(Arena arena, Random trial, int outputs, int inputs) {
    float[] values = normal(trial, outputs * inputs, 0.1f);
    return WeightSlice.whole(
        arena.allocateFrom(JAVA_FLOAT, values), DType.FLOAT32, outputs, inputs);
  }

  private static LinearWeight linear(
      Device device, Arena arena, Random trial, int outputs, int inputs, Parallelism parallelism) {
    return device.packLinear(
        slice(arena, trial, outputs, inputs), WeightFormat.BFLOAT16, parallelism);
  }

  private static float[] floats(Device device, Tensor tensor) {
    float[] values = new float[(int) (tensor.rows() * tensor.columns())];
    MemorySegment segment = MemorySegment.ofArray(values);
    device.download(segment, tensor, 0);
    return values;
  }

  @Test
  void productsOfManyRowsHaveTheValuesOfOurOwn() {
    long seed = Trial.named("products of a library").random.nextLong();
    List<float[]> own = run(false, ROWS, seed);
    List<float[]> theirs = run(true, ROWS, seed);
    boolean differ = false;
    for (int i = 0; i < own.size(); i++) {
      float[] expected = own.get(i);
      float[] actual = theirs.get(i);
      for (int j = 0; j < expected.length; j++) {
        assertThat(actual[j]).as("result %d at %d", i, j).isCloseTo(expected[j], within(0.02f));
        differ |= actual[j] != expected[j];
      }
    }
    assertThat(differ).as("sums of another order").isTrue();
  }

  @Test
  void productsOfFewerRowsStayOurOwnBitForBit() {
    long seed = Trial.named("few products of a library").random.nextLong();
    List<float[]> own = run(false, 20, seed);
    List<float[]> theirs = run(true, 20, seed);
    assertThat(theirs).usingRecursiveComparison().isEqualTo(own);
  }

  @Test
  void theArithmeticHasAnotherName() {
    try (CudaDevice own = CudaDevice.open(new CudaOptions(true, List.of(0), 0.1, true), 1);
        CudaDevice theirs =
            CudaDevice.open(new CudaOptions(true, List.of(0), 0.1, true, true), 1)) {
      assertThat(theirs.numerics(WeightFormat.BFLOAT16))
          .isNotEqualTo(own.numerics(WeightFormat.BFLOAT16));
    }
  }

  @Test
  void aLibraryThatDoesNotBeginSaysWhyAndWhatItCosts() throws Exception {
    CudaDriver.open(true);
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    // A thread without a GPU.
    Thread unbound =
        new Thread(() -> thrown.set(catchThrowable(() -> CublasLt.open(true, "fast products"))));
    unbound.start();
    unbound.join();
    assertThat(thrown.get())
        .isInstanceOf(CudaUnavailableException.class)
        .hasMessageContaining("cublasLtCreate: status 1, not initialized")
        .hasMessageContaining("without it: fast products");
  }
}
