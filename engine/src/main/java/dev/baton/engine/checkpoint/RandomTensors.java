package dev.baton.engine.checkpoint;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.baton.device.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Tensors of a model's shapes with random elements, for measuring without files. Matrices hold
 * values of both signs over four binary exponents, small enough that products neither overflow nor
 * fade; norms and biases hold ones. The same seed gives the same bits on every machine and by any
 * number of threads.
 *
 * <p>Each thread has two buffers, which its tensors take in turn: beside the packed weights there
 * are never more than two unpacked tensors a thread. {@link #close} frees the buffers; no tensor
 * may be read then.
 */
public final class RandomTensors implements TensorSource, AutoCloseable {

  /** A buffer that is this much larger than the next tensor is given back first. */
  private static final int OVERSIZE = 4;

  /** Of the elements; the mask of two bits in {@link #fill} makes them. */
  private static final int EXPONENTS = 4;

  private record Buffer(Arena arena, MemorySegment segment) {}

  /** The buffers of one thread: the one that is next, and the one that was last. */
  private static final class Turns {
    @Nullable Buffer next;
    @Nullable Buffer last;
  }

  private final Map<String, List<Integer>> shapes;
  private final DType dtype;
  private final long seed;
  private final Map<Thread, Turns> buffers = new ConcurrentHashMap<>();

  /**
   * @param dtype of the elements: BFLOAT16 or FLOAT32; vectors are float32 always
   */
  public RandomTensors(ModelConfig config, DType dtype, long seed) {
    if (dtype != DType.BFLOAT16 && dtype != DType.FLOAT32) {
      throw new IllegalArgumentException(
          "dtype: %s (expected: BFLOAT16 or FLOAT32)".formatted(dtype));
    }
    this.shapes = config.architecture().tensors(config);
    this.dtype = dtype;
    this.seed = seed;
  }

  @Override
  public CheckpointTensor get(String name) {
    List<Integer> shape = shapes.get(name);
    if (shape == null) {
      throw new IllegalArgumentException(
          "tensor: %s (expected: one of the model's %d)".formatted(name, shapes.size()));
    }
    if (shape.size() < 2) {
      MemorySegment ones = buffer((long) shape.getFirst() * Float.BYTES);
      for (long i = 0; i < ones.byteSize(); i += Float.BYTES) {
        ones.set(JAVA_FLOAT_UNALIGNED, i, 1f);
      }
      return new CheckpointTensor("random", name, DType.FLOAT32, shape, ones);
    }
    int columns = shape.getLast();
    MemorySegment data = buffer((long) shape.getFirst() * columns * dtype.bytes());
    fill(data, dtype, columns, seed ^ (name.hashCode() * 0x9E3779B97F4A7C15L));
    return new CheckpointTensor("random", name, dtype, shape, data);
  }

  private MemorySegment buffer(long bytes) {
    Turns own = buffers.computeIfAbsent(Thread.currentThread(), thread -> new Turns());
    Buffer taken = own.next;
    // Whole words, so that filling needs no tail.
    long needed = Math.ceilDiv(bytes, Long.BYTES) * Long.BYTES;
    if (taken == null
        || taken.segment.byteSize() < needed
        || taken.segment.byteSize() / OVERSIZE > needed) {
      if (taken != null) {
        own.next = null;
        taken.arena.close();
      }
      Arena arena = Arena.ofShared();
      taken = new Buffer(arena, arena.allocate(needed, Long.BYTES));
    }
    own.next = own.last;
    own.last = taken;
    return taken.segment.asSlice(0, bytes);
  }

  /**
   * Fills with random signs and mantissas over four exponents, all below {@code 2 / sqrt(columns)}
   * or {@code 3 / sqrt(columns)}: about unit variance in, unit variance out. Made of whole words of
   * a counter-based generator (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
   * generators", 2014), without a branch per element.
   *
   * @param columns of the matrix; sets the size of its elements
   */
  public static void fill(MemorySegment data, DType dtype, int columns, long seed) {
    int root = (31 - Integer.numberOfLeadingZeros(columns)) / 2;
    // The largest exponent makes 1 / sqrt(columns); no sum below leaves its lane.
    long exponent = Math.max(1, 127 - root - (EXPONENTS - 1));
    long keep;
    long base;
    if (dtype == DType.BFLOAT16) {
      keep = 0x81FF_81FF_81FF_81FFL;
      base = (exponent << 7) * 0x0001_0001_0001_0001L;
    } else {
      keep = 0x81FF_FFFF_81FF_FFFFL;
      base = (exponent << 23) * 0x0000_0001_0000_0001L;
    }
    long state = seed;
    long words = data.byteSize() / Long.BYTES;
    for (long i = 0; i < words; i++) {
      state += 0x9E3779B97F4A7C15L;
      data.set(JAVA_LONG_UNALIGNED, i * Long.BYTES, (mix(state) & keep) + base);
    }
    if (words * Long.BYTES < data.byteSize()) {
      long last = (mix(state + 0x9E3779B97F4A7C15L) & keep) + base;
      MemorySegment tail = data.asSlice(words * Long.BYTES);
      MemorySegment.copy(MemorySegment.ofArray(new long[] {last}), 0, tail, 0, tail.byteSize());
    }
  }

  private static long mix(long z) {
    long a = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    long b = (a ^ (a >>> 27)) * 0x94D049BB133111EBL;
    return b ^ (b >>> 31);
  }

  @Override
  public void close() {
    for (Turns turns : buffers.values()) {
      close(turns.next);
      close(turns.last);
    }
    buffers.clear();
  }

  private static void close(@Nullable Buffer buffer) {
    if (buffer != null) {
      buffer.arena.close();
    }
  }
}
