package dev.baton.device.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.baton.device.DType;
import dev.baton.device.DeviceSlabs;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import dev.baton.device.OutOfDeviceMemoryException;
import dev.baton.device.SlabRegion;
import dev.baton.device.Trial;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Objects;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;

/** Slabs in the memory of an emulated GPU: what is packed there, and its checksum. */
final class CudaSlabsTest {

  private static final int[] TABLE = {2, 0, 3};

  private static CudaDevice open(long slabBytes) {
    return CudaDevice.open(
        new CudaOptions(true, List.of(0, 1), 0.05, false).withSlabBytes(slabBytes), 2);
  }

  private static MemorySegment random(Trial trial, Arena arena, long bytes) {
    byte[] values = new byte[Math.toIntExact(bytes)];
    trial.random.nextBytes(values);
    // No exponent of all ones: a NaN's bits need not survive a conversion.
    for (int i = 1; i < values.length; i += 2) {
      values[i] &= (byte) 0xbf;
    }
    return arena.allocate(bytes, 64).copyFrom(MemorySegment.ofArray(values));
  }

  @Test
  void ranksPackThereAndUnpackFromThereWhatTheyWouldByWayOfTheHost() {
    Trial trial = Trial.named("device slabs");
    KvShape left = new KvShape(3, 4, 32, 0, 2, 20, DType.BFLOAT16);
    KvShape right = new KvShape(3, 4, 32, 2, 2, 20, DType.BFLOAT16);
    SlabRegion region = new SlabRegion(0, 3, 0, 4, 5, 77, 20, DType.BFLOAT16);
    try (CudaDevice device = open(1 << 20);
        Arena arena = Arena.ofConfined()) {
      DeviceSlabs slabs = Objects.requireNonNull(device.slabs());
      KvCache first = device.allocateKvCache(left);
      KvCache second = device.onRank(1).allocateKvCache(right);
      MemorySegment given = random(trial, arena, region.bytes());
      MemorySegment there = slabs.take(region.bytes());
      // Memory of an emulated GPU is the process's own.
      there.copyFrom(given);
      device.unpackKv(first, TABLE, region, there);
      device.onRank(1).unpackKv(second, TABLE, region, there);
      MemorySegment staged = arena.allocate(region.bytes(), 64);
      device.packKv(first, TABLE, region, staged);
      device.onRank(1).packKv(second, TABLE, region, staged);
      assertEquals(-1, staged.mismatch(given));
      MemorySegment direct = slabs.take(region.bytes());
      device.packKv(first, TABLE, region, direct);
      device.onRank(1).packKv(second, TABLE, region, direct);
      assertEquals(-1, direct.mismatch(given));
    }
  }

  @Test
  void checksumsAreCrc32cOfEveryLength() {
    Trial trial = Trial.named("crc32c");
    try (CudaDevice device = open(4 << 20);
        Arena arena = Arena.ofConfined()) {
      DeviceSlabs slabs = Objects.requireNonNull(device.slabs());
      long[] lengths = {
        0, 1, 15, 16, 17, 4096, trial.between(18, 4000), 16 * 256 * 256 + 16 * 300 + 5
      };
      for (long bytes : lengths) {
        MemorySegment values = random(trial, arena, bytes);
        CRC32C expected = new CRC32C();
        expected.update(values.asByteBuffer());
        MemorySegment slab = slabs.take(bytes).copyFrom(values);
        assertEquals((int) expected.getValue(), slabs.crc32c(slab), bytes + " bytes");
      }
    }
  }

  @Test
  void noMoreIsTakenThanThereIs() {
    try (CudaDevice device = open(1000)) {
      DeviceSlabs slabs = Objects.requireNonNull(device.slabs());
      assertEquals(700, slabs.take(700).byteSize());
      assertEquals(232, slabs.take(232).byteSize());
      assertThrows(OutOfDeviceMemoryException.class, () -> slabs.take(1));
    }
  }
}
