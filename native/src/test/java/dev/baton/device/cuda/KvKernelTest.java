package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.baton.device.DType;
import dev.baton.device.SlabRegion;
import dev.baton.device.Trial;
import dev.baton.device.cuda.EmulatedGpu.Grid;
import dev.baton.device.host.Bf16;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

/** KV between blocks and slabs on the emulated GPU. */
final class KvKernelTest {

  private static final int LAYERS = 3;
  private static final int BLOCKS = 4;
  private static final int BLOCK_TOKENS = 32;
  private static final int HEADS = 3;

  private static MemorySegment region(
      EmulatedGpu gpu,
      String kernel,
      MemorySegment slab,
      DType dtype,
      MemorySegment cache,
      boolean inBytes,
      int dim,
      int... table) {
    int width = (dim + 31) / 32 * 32;
    byte[] layer =
        EmulatedGpu.inner(
            gpu.struct(cache.address(), BLOCK_TOKENS, HEADS, width, dim, inBytes ? 1 : 0, 0));
    long layerBytes = 2L * BLOCKS * HEADS * BLOCK_TOKENS * (inBytes ? width + 4 : 2 * width);
    int type =
        switch (dtype) {
          case FLOAT32 -> 0;
          case BFLOAT16 -> 1;
          default -> 2;
        };
    // Layers 1 to 2, heads 1 to 2 of the cache as heads 2 to 3 of five in the slab, tokens 5 to 41.
    gpu.launch(
        kernel,
        new Grid(5, 2, 4),
        256,
        0,
        slab,
        type,
        layer,
        layerBytes,
        gpu.ints(table),
        1,
        1,
        5,
        36,
        5,
        2);
    return slab;
  }

  private static long slabBytes(int dim, DType dtype) {
    return new SlabRegion(0, 2, 0, 5, 0, 36, dim, dtype).bytes();
  }

  private static long at(int dim, int layer, int value, int head, int block, int slot) {
    int width = (dim + 31) / 32 * 32;
    return ((((long) layer * BLOCKS + block) * 2 + value) * HEADS + head) * BLOCK_TOKENS * width
        + (long) slot * width;
  }

  @Test
  void whatIsPackedAndUnpackedElsewhereIsTheSameAndNothingElseIsTouched() {
    Trial trial = Trial.named("kv");
    int dim = trial.between(3, 120);
    int width = (dim + 31) / 32 * 32;
    int elements = LAYERS * BLOCKS * 2 * HEADS * BLOCK_TOKENS * width;
    for (DType dtype : new DType[] {DType.FLOAT32, DType.BFLOAT16, DType.INT8}) {
      try (EmulatedGpu gpu = new EmulatedGpu()) {
        MemorySegment from = gpu.bf16s(trial.normal(elements, 1));
        MemorySegment to = gpu.bytes(2L * elements);
        MemorySegment slab = gpu.bytes(slabBytes(dim, dtype));
        region(gpu, "kv_pack", slab, dtype, from, false, dim, 3, 1);
        assertUntouched(slab, dim, dtype);
        region(gpu, "kv_unpack", slab, dtype, to, false, dim, 0, 2);
        short[] expected = new short[elements];
        java.util.Arrays.fill(expected, (short) -1);
        for (int layer = 1; layer < 3; layer++) {
          for (int value = 0; value < 2; value++) {
            for (int head = 1; head < 3; head++) {
              for (int p = 5; p < 41; p++) {
                long source = at(dim, layer, value, head, p < 32 ? 3 : 1, p % 32);
                long target = at(dim, layer, value, head, p < 32 ? 0 : 2, p % 32);
                row(from, source, dim, dtype, expected, (int) target, width);
              }
            }
          }
        }
        short[] actual = to.toArray(JAVA_SHORT);
        for (int i = 0; i < elements; i++) {
          if (actual[i] != expected[i]) {
            throw new AssertionError(
                "%s: element %d is %x (expected: %x)".formatted(dtype, i, actual[i], expected[i]));
          }
        }
      }
    }
  }

  /** A row in eight bits comes back from every kind of slab, as far as the slab can carry it. */
  @Test
  void rowsInEightBitsComeBackFromSlabs() {
    Trial trial = Trial.named("kv in eight bits");
    int dim = trial.between(3, 120);
    int width = (dim + 31) / 32 * 32;
    int part = BLOCK_TOKENS * (width + 4);
    int parts = LAYERS * BLOCKS * 2 * HEADS;
    for (DType dtype : new DType[] {DType.FLOAT32, DType.BFLOAT16, DType.INT8}) {
      try (EmulatedGpu gpu = new EmulatedGpu()) {
        MemorySegment from = gpu.bytes((long) parts * part);
        for (int i = 0; i < parts * BLOCK_TOKENS; i++) {
          float[] plain = trial.normal(dim, 1);
          plain[0] = i % 7 == 3 ? Float.NaN : plain[0];
          EightBits row = EightBits.of(plain);
          long at = (long) (i / BLOCK_TOKENS) * part;
          int slot = i % BLOCK_TOKENS;
          MemorySegment.copy(row.elements(), 0, from, JAVA_BYTE, at + (long) slot * width, dim);
          from.set(JAVA_FLOAT, at + (long) BLOCK_TOKENS * width + 4L * slot, row.scale());
        }
        MemorySegment to = gpu.bytes(from.byteSize());
        MemorySegment slab = gpu.bytes(slabBytes(dim, dtype));
        region(gpu, "kv_pack", slab, dtype, from, true, dim, 3, 1);
        assertUntouched(slab, dim, dtype);
        region(gpu, "kv_unpack", slab, dtype, to, true, dim, 0, 2);
        byte[] expected = new byte[Math.toIntExact(to.byteSize())];
        java.util.Arrays.fill(expected, (byte) -1);
        MemorySegment wanted = MemorySegment.ofArray(expected);
        for (int row = 0; row < 2 * 2 * 2 * 36; row++) {
          int p = 5 + row % 36;
          int head = 1 + row / 36 % 2;
          int value = row / 72 % 2;
          int layer = 1 + row / 144;
          long source = part * (at(1, layer, value, head, p < 32 ? 3 : 1, 0) / 1024);
          long target = part * (at(1, layer, value, head, p < 32 ? 0 : 2, 0) / 1024);
          long slot = p % BLOCK_TOKENS;
          float[] carried = new float[dim];
          float scale = from.get(JAVA_FLOAT, source + (long) BLOCK_TOKENS * width + 4 * slot);
          for (int d = 0; d < dim; d++) {
            carried[d] = from.get(JAVA_BYTE, source + slot * width + d) * scale;
            if (dtype == DType.BFLOAT16) {
              carried[d] = Bf16.toFloat(Bf16.fromFloat(carried[d]));
            }
          }
          EightBits kept = EightBits.of(carried);
          wanted.asSlice(target + slot * width, width).fill((byte) 0);
          MemorySegment.copy(kept.elements(), 0, wanted, JAVA_BYTE, target + slot * width, dim);
          wanted.set(
              JAVA_FLOAT_UNALIGNED,
              target + (long) BLOCK_TOKENS * width + 4 * slot,
              dtype == DType.BFLOAT16 ? kept.scale() : scale);
        }
        long differs = to.mismatch(wanted);
        if (differs >= 0) {
          throw new AssertionError(
              "%s: byte %d is %d (expected: %d)"
                  .formatted(
                      dtype, differs, to.get(JAVA_BYTE, differs), wanted.get(JAVA_BYTE, differs)));
        }
      }
    }
  }

  /** What a row becomes that went through a slab of this dtype. */
  private static void row(
      MemorySegment from, long source, int dim, DType dtype, short[] to, int target, int width) {
    float[] row = new float[dim];
    for (int d = 0; d < dim; d++) {
      row[d] = Bf16.toFloat(from.getAtIndex(JAVA_SHORT, source + d));
    }
    float[] carried = dtype == DType.INT8 ? EightBits.of(row).widened() : row;
    for (int d = 0; d < width; d++) {
      to[target + d] = d < dim ? Bf16.fromFloat(carried[d]) : 0;
    }
  }

  /** Heads of the slab that are not this cache's stay as they are. */
  private static void assertUntouched(MemorySegment slab, int dim, DType dtype) {
    long rowBytes = SlabRegion.rowBytes(dim, dtype);
    for (long row = 0; row < slab.byteSize() / rowBytes; row++) {
      long head = row / 36 % 5;
      for (long i = 0; (head < 2 || head > 3) && i < rowBytes; i++) {
        if (slab.get(JAVA_BYTE, row * rowBytes + i) != -1) {
          throw new AssertionError("head " + head + " was written (expected: untouched)");
        }
      }
    }
  }
}
