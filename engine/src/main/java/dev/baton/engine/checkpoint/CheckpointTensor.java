package dev.baton.engine.checkpoint;

import dev.baton.device.DType;
import dev.baton.device.RandomElements;
import dev.baton.device.WeightSlice;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One tensor of a checkpoint, as stored: row-major, little-endian.
 *
 * @param source where it comes from, for messages
 * @param shape outermost dimension first; empty for a scalar
 * @param data exactly the tensor's bytes, read-only, maybe unaligned; valid until the {@link
 *     Checkpoint} is closed
 * @param random how its elements are made where nobody has made them yet, {@code data} being empty
 *     then; null = data has them
 */
public record CheckpointTensor(
    String source,
    String name,
    DType dtype,
    List<Integer> shape,
    MemorySegment data,
    @Nullable RandomElements random) {

  public CheckpointTensor {
    shape = List.copyOf(shape);
  }

  /** One whose bytes are there. */
  public CheckpointTensor(
      String source, String name, DType dtype, List<Integer> shape, MemorySegment data) {
    this(source, name, dtype, shape, data, null);
  }

  /** The same elements, or some of them, under another name. */
  CheckpointTensor as(String newName, List<Integer> newShape, MemorySegment newData) {
    return new CheckpointTensor(source, newName, dtype, newShape, newData);
  }

  /** Rows and columns of it, for a device; a vector is one row. */
  public WeightSlice slice(int rowFrom, int rowTo, int columnFrom, int columnTo) {
    int rows = shape.size() == 1 ? 1 : shape.getFirst();
    return new WeightSlice(
        data, random, dtype, rows, shape.getLast(), rowFrom, rowTo, columnFrom, columnTo);
  }

  /** All of it, for a device. */
  public WeightSlice whole() {
    return slice(0, shape.size() == 1 ? 1 : shape.getFirst(), 0, shape.getLast());
  }
}
