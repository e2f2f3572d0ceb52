package dev.baton.device;

import java.lang.foreign.MemorySegment;

/**
 * A dense row-major array {@code [rows, columns]} in the memory of the device that allocated it.
 * Lives until that device is closed. Carries no thread safety of its own: the rank whose step
 * writes it owns it.
 *
 * @param segment the elements; readable by Java on host devices only
 */
public record Tensor(DType dtype, long rows, long columns, MemorySegment segment) {

  public Tensor {
    if (rows < 0 || columns < 0 || rows * columns * dtype.bytes() != segment.byteSize()) {
      throw new IllegalArgumentException(
          "tensor: %s [%d, %d] in %d bytes (expected: rows * columns * %d bytes)"
              .formatted(dtype, rows, columns, segment.byteSize(), dtype.bytes()));
    }
  }

  public long address() {
    return segment.address();
  }

  public long bytes() {
    return segment.byteSize();
  }
}
