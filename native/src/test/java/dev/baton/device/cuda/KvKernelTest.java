package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
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
      int dim,
      int... table) {
    int width = (dim + 31) / 32 * 32;
    byte[] layer = EmulatedGpu.inner(gpu.struct(cache.address(), BLOCK_TOKENS, HEADS, width, dim));
    long layerBytes = 2L * 2 * BLOCKS * HEADS * BLOCK_TOKENS * width;
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
        region(gpu, "kv_pack", slab, dtype, from, dim, 3, 1);
        assertUntouched(slab, dim, dtype);
        region(gpu, "kv_unpack", slab, dtype, to, dim, 0, 2);
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

  /** What a row becomes that went through a slab of this dtype. */
  private static void row(
      MemorySegment from, long source, int dim, DType dtype, short[] to, int target, int width) {
    float most = 0;
    for (int d = 0; d < dim; d++) {
      most = Math.max(most, Math.abs(Bf16.toFloat(from.getAtIndex(JAVA_SHORT, source + d))));
    }
    int bits = (Float.floatToRawIntBits(most / 127) + 128) >>> 8 << 8;
    float scale = Float.intBitsToFloat(bits);
    for (int d = 0; d < width; d++) {
      short element = d < dim ? from.getAtIndex(JAVA_SHORT, source + d) : 0;
      if (dtype == DType.INT8 && d < dim) {
        int level = (int) Math.rint((double) (Bf16.toFloat(element) * (1f / scale)));
        element = Bf16.fromFloat(level * scale);
      }
      to[target + d] = element;
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
