package dev.baton.engine.checkpoint;

import dev.baton.device.DType;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * One tensor of a checkpoint, as stored: row-major, little-endian.
 *
 * @param source where it comes from, for messages
 * @param shape outermost dimension first; empty for a scalar
 * @param data exactly the tensor's bytes, read-only, maybe unaligned; valid until the {@link
 *     Checkpoint} is closed
 */
public record CheckpointTensor(
    String source, String name, DType dtype, List<Integer> shape, MemorySegment data) {

  public CheckpointTensor {
    shape = List.copyOf(shape);
  }

  /** The same elements, or some of them, under another name. */
  CheckpointTensor as(String newName, List<Integer> newShape, MemorySegment newData) {
    return new CheckpointTensor(source, newName, dtype, newShape, newData);
  }
}
