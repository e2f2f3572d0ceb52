package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import dev.baton.device.SlabRegion;
import dev.baton.device.Trial;
import dev.baton.device.reference.ReferenceDevice;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Slabs into and out of caches of other block sizes, tensor-parallel degrees and dtypes. */
class KvCopyTest {

  private static final String TIERS = "dev.baton.device.cpu.Tiers#running";

  private static final List<DType> DTYPES = List.of(DType.FLOAT32, DType.BFLOAT16, DType.INT8);

  private static final int LAYERS = 3;
  private static final int HEADS = 8;
  private static final int TOKENS = 150;

  /** The caches of all ranks of one worker, and one session's blocks in each. */
  private record Worker(Device device, List<KvCache> ranks, int[] table) {

    static Worker open(Trial trial, Device device, int ranks, int headDim, DType dtype) {
      int blockTokens = trial.oneOf(32, 64, 96);
      int blocks = (TOKENS + blockTokens - 1) / blockTokens + 2;
      List<Integer> numbers = new ArrayList<>();
      for (int i = 0; i < blocks; i++) {
        numbers.add(i);
      }
      Collections.shuffle(numbers, trial.random);
      List<KvCache> caches = new ArrayList<>();
      for (int r = 0; r < ranks; r++) {
        int heads = HEADS / ranks;
        caches.add(
            device.allocateKvCache(
                new KvShape(LAYERS, blocks, blockTokens, r * heads, heads, headDim, dtype)));
      }
      int[] table = numbers.stream().mapToInt(i -> i).limit(blocks - 1).toArray();
      return new Worker(device, caches, table);
    }

    void pack(SlabRegion region, MemorySegment slab) {
      for (KvCache cache : ranks) {
        device.packKv(cache, table, region, slab);
      }
    }

    void unpack(SlabRegion region, MemorySegment slab) {
      for (KvCache cache : ranks) {
        device.unpackKv(cache, table, region, slab);
      }
    }
  }

  private static SlabRegion region(int tokenFrom, int tokenTo, int headDim, DType dtype) {
    return new SlabRegion(0, LAYERS, 0, HEADS, tokenFrom, tokenTo, headDim, dtype);
  }

  private static MemorySegment random(Trial trial, SlabRegion region) {
    if (region.dtype() != DType.INT8) {
      float[] values = trial.normal(region.bytes() / region.dtype().bytes(), 1);
      return Trial.stored(values, region.dtype());
    }
    byte[] rows = new byte[Math.toIntExact(region.bytes())];
    trial.random.nextBytes(rows);
    MemorySegment slab = MemorySegment.ofArray(rows);
    int rowBytes = region.headDim() + Float.BYTES;
    for (int at = 0; at < rows.length; at += rowBytes) {
      for (int d = 0; d < region.headDim(); d++) {
        rows[at + d] = (byte) Math.max(-127, rows[at + d]);
      }
      rows[at + trial.between(0, region.headDim() - 1)] = 127;
      int scale = Float.floatToRawIntBits(trial.random.nextFloat() + 0.01f) & ~0xff;
      slab.set(JAVA_INT_UNALIGNED, at + region.headDim(), scale);
    }
    return slab;
  }

  private static int[] packed(Worker worker, SlabRegion region) {
    MemorySegment slab = MemorySegment.ofArray(new int[Math.toIntExact((region.bytes() + 3) / 4)]);
    worker.pack(region, slab);
    return ints(slab);
  }

  private static int[] ints(MemorySegment slab) {
    return slab.toArray(JAVA_INT_UNALIGNED);
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void kvSurvivesTheWayThroughAnyOtherWorker(String tier) {
    Trial trial = Trial.named("hand-off, " + tier);
    for (int i = 0; i < 30; i++) {
      int headDim = trial.oneOf(6, 8, 64, 128);
      DType dtype = DTYPES.get(trial.between(0, DTYPES.size() - 1));
      try (Device cpu = Tiers.open(tier);
          Device reference = ReferenceDevice.open()) {
        Worker source = Worker.open(trial, cpu, trial.oneOf(1, 2, 4, 8), headDim, dtype);
        Worker target =
            Worker.open(
                trial,
                trial.random.nextBoolean() ? reference : cpu,
                trial.oneOf(1, 2, 4, 8),
                headDim,
                dtype);
        SlabRegion all = region(0, TOKENS, headDim, dtype);
        MemorySegment content = random(trial, all);
        source.unpack(all, content);
        Trial.assertSameBits(packed(source, all), ints(content), "source");
        for (int from = 0; from < TOKENS; ) {
          int to = Math.min(TOKENS, from + trial.between(1, 40));
          SlabRegion part = region(from, to, headDim, dtype);
          try (Arena arena = Arena.ofConfined()) {
            // An odd address: slabs arrive wherever the transport put them.
            MemorySegment slab = arena.allocate(part.bytes() + 1, 8).asSlice(1, part.bytes());
            source.pack(part, slab);
            target.unpack(part, slab);
          }
          from = to;
        }
        Trial.assertSameBits(packed(target, all), ints(content), "target");
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void dtypesConvertAsInTheReference(String tier) {
    Trial trial = Trial.named("kv dtypes, " + tier);
    for (DType cached : DTYPES) {
      for (DType wire : DTYPES) {
        try (Device cpu = Tiers.open(tier);
            Device reference = ReferenceDevice.open()) {
          SlabRegion in = region(3, TOKENS, 8, wire);
          MemorySegment content = random(trial, in);
          Worker ours = Worker.open(trial, cpu, 2, 8, cached);
          Worker theirs = Worker.open(trial, reference, 4, 8, cached);
          ours.unpack(in, content);
          theirs.unpack(in, content);
          for (DType out : DTYPES) {
            SlabRegion region = region(3, TOKENS, 8, out);
            Trial.assertSameBits(
                packed(ours, region),
                packed(theirs, region),
                wire + " to " + cached + " to " + out);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void eightBitsAndTheirScaleSurviveAWiderSlab(String tier) {
    Trial trial = Trial.named("int8, " + tier);
    try (Device cpu = Tiers.open(tier)) {
      Worker source = Worker.open(trial, cpu, 2, 80, DType.INT8);
      Worker target = Worker.open(trial, cpu, 4, 80, DType.INT8);
      SlabRegion narrow = region(0, TOKENS, 80, DType.INT8);
      source.unpack(narrow, random(trial, narrow));
      SlabRegion wide = region(0, TOKENS, 80, DType.FLOAT32);
      target.unpack(wide, MemorySegment.ofArray(packed(source, wide)));
      Trial.assertSameBits(packed(target, narrow), packed(source, narrow), tier);
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void aRankTouchesNothingButItsOwnHeadsAndTheRegionsTokens(String tier) {
    Trial trial = Trial.named("kv borders, " + tier);
    try (Device cpu = Tiers.open(tier)) {
      Worker worker = Worker.open(trial, cpu, 4, 8, DType.BFLOAT16);
      SlabRegion all = region(0, TOKENS, 8, DType.BFLOAT16);
      worker.unpack(all, random(trial, all));
      int[] before = packed(worker, all);

      byte[] mark = new byte[Math.toIntExact(all.bytes())];
      Arrays.fill(mark, (byte) 77);
      MemorySegment slab = MemorySegment.ofArray(mark);
      cpu.packKv(worker.ranks.get(2), worker.table, all, slab);
      long headBytes = TOKENS * 8L * 2;
      for (long part = 0; part < 2L * LAYERS * HEADS; part++) {
        boolean own = part % HEADS / 2 == 2;
        boolean untouched = true;
        for (long i = part * headBytes; i < (part + 1) * headBytes; i++) {
          untouched &= slab.get(JAVA_BYTE, i) == 77;
        }
        assertThat(untouched).as("part %d", part).isEqualTo(!own);
      }

      SlabRegion middle = region(20, 90, 8, DType.BFLOAT16);
      worker.unpack(middle, random(trial, middle));
      SlabRegion head = region(0, 20, 8, DType.BFLOAT16);
      SlabRegion tail = region(90, TOKENS, 8, DType.BFLOAT16);
      int[] headAfter = packed(worker, head);
      int[] tailAfter = packed(worker, tail);
      Worker fresh = Worker.open(trial, cpu, 1, 8, DType.BFLOAT16);
      fresh.unpack(all, MemorySegment.ofArray(before));
      Trial.assertSameBits(headAfter, packed(fresh, head), "before the region");
      Trial.assertSameBits(tailAfter, packed(fresh, tail), "after the region");
    }
  }

  @Test
  void touchingBlocksLeavesTheirContent() {
    try (Device device = CpuDevice.open()) {
      KvShape shape = new KvShape(LAYERS, 48, 32, 0, HEADS, 64, DType.BFLOAT16);
      CpuKvCache cache = (CpuKvCache) device.allocateKvCache(shape);
      cache.memory().fill((byte) 0x5a);
      cache.touch(5, 48, () -> false);
      for (long at = 0; at < shape.bytes(); at++) {
        assertThat(cache.memory().get(JAVA_BYTE, at)).isEqualTo((byte) 0x5a);
      }
    }
  }
}
