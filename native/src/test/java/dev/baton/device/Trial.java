package dev.baton.device;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.baton.device.host.Bf16;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Random;

/**
 * One random test: its numbers come from a seed that is printed and can be given again with {@code
 * -Dseed=}. Makes inputs and reads results back as bits.
 */
public final class Trial {

  /** A NaN that no arithmetic makes: what a kernel leaves alone keeps it, bit for bit. */
  public static final float POISON = Float.intBitsToFloat(0x7fc12345);

  public final Random random;

  private Trial(long seed) {
    random = new Random(seed);
  }

  public static Trial named(String name) {
    long seed = Long.getLong("seed", System.nanoTime());
    System.out.println(name + ": -Dseed=" + seed);
    return new Trial(seed);
  }

  public int between(int least, int most) {
    return least + random.nextInt(most - least + 1);
  }

  public int oneOf(int... values) {
    return values[random.nextInt(values.length)];
  }

  public float[] normal(long count, double scale) {
    float[] values = new float[Math.toIntExact(count)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (random.nextGaussian() * scale);
    }
    return values;
  }

  public static Tensor tensor(Device device, int rows, int columns, float[] values) {
    Tensor tensor = device.allocate(DType.FLOAT32, rows, columns);
    device.upload(tensor, 0, MemorySegment.ofArray(values));
    return tensor;
  }

  public static Tensor poisoned(Device device, int rows, int columns) {
    Tensor tensor = device.allocate(DType.FLOAT32, rows, columns);
    for (long i = 0; i < tensor.bytes() / 4; i++) {
      tensor.segment().setAtIndex(JAVA_FLOAT, i, POISON);
    }
    return tensor;
  }

  /** All elements of a tensor as raw bits. */
  public static int[] bits(Tensor tensor) {
    return tensor.dtype() == DType.FLOAT32
        ? tensor.segment().toArray(JAVA_INT)
        : widened(tensor.segment().toArray(JAVA_SHORT));
  }

  /** Fails with the first difference only; whole tensors are too long to read. */
  public static void assertSameBits(int[] actual, int[] expected, Object what) {
    int at = Arrays.mismatch(actual, expected);
    if (at >= 0) {
      throw new AssertionError(
          "%s: element %d of %d is %s (expected: %s, element of %d)"
              .formatted(
                  what,
                  at,
                  actual.length,
                  at < actual.length ? Integer.toHexString(actual[at]) : "missing",
                  at < expected.length ? Integer.toHexString(expected[at]) : "missing",
                  expected.length));
    }
  }

  private static int[] widened(short[] values) {
    int[] result = new int[values.length];
    for (int i = 0; i < result.length; i++) {
      result[i] = values[i];
    }
    return result;
  }

  /** The values as a checkpoint would store them. */
  public static MemorySegment stored(float[] values, DType dtype) {
    if (dtype == DType.FLOAT32) {
      return MemorySegment.ofArray(values);
    }
    short[] bits = new short[values.length];
    for (int i = 0; i < bits.length; i++) {
      bits[i] =
          dtype == DType.BFLOAT16 ? Bf16.fromFloat(values[i]) : Float.floatToFloat16(values[i]);
    }
    return MemorySegment.ofArray(bits);
  }
}
