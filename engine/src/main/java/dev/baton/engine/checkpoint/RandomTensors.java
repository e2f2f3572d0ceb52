package dev.baton.engine.checkpoint;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import dev.baton.device.DType;
import dev.baton.device.RandomElements;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Tensors of a model's shapes with random elements, for measuring without files. Matrices follow
 * {@link RandomElements}; norms and biases hold ones. The same seed gives the same bits on every
 * machine and by any number of threads, and on a device that makes the elements itself.
 *
 * <p>Where this makes them, each thread has two buffers, which its tensors take in turn: beside the
 * packed weights there are never more than two unpacked tensors a thread. {@link #close} frees the
 * buffers; no tensor may be read then.
 */
public final class RandomTensors implements TensorSource, AutoCloseable {

  /** A buffer that is this much larger than the next tensor is given back first. */
  private static final int OVERSIZE = 4;

  private record Buffer(Arena arena, MemorySegment segment) {}

  /** The buffers of one thread: the one that is next, and the one that was last. */
  private static final class Turns {
    @Nullable Buffer next;
    @Nullable Buffer last;
  }

  private final Map<String, List<Integer>> shapes;
  private final DType dtype;
  private final long seed;
  private final boolean byDevice;
  private final Map<Thread, Turns> buffers = new ConcurrentHashMap<>();

  /**
   * @param dtype of the elements: BFLOAT16 or FLOAT32; vectors are float32 always
   * @param byDevice matrices are only described, for a device that {@link
   *     dev.baton.device.Device#makesRandom makes random} elements
   */
  public RandomTensors(ModelConfig config, DType dtype, long seed, boolean byDevice) {
    if (dtype != DType.BFLOAT16 && dtype != DType.FLOAT32) {
      throw new IllegalArgumentException(
          "dtype: %s (expected: BFLOAT16 or FLOAT32)".formatted(dtype));
    }
    this.shapes = config.architecture().tensors(config);
    this.dtype = dtype;
    this.seed = seed;
    this.byDevice = byDevice;
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
    RandomElements elements =
        new RandomElements(dtype, columns, seed ^ (name.hashCode() * 0x9E3779B97F4A7C15L));
    if (byDevice) {
      return new CheckpointTensor("random", name, dtype, shape, MemorySegment.NULL, elements);
    }
    MemorySegment data = buffer((long) shape.getFirst() * columns * dtype.bytes());
    elements.fill(data);
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
