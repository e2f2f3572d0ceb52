package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.Device;
import dev.baton.device.LogitScan;
import dev.baton.device.Trial;
import dev.baton.device.reference.ReferenceLogitScan;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Passes over logits, of every tier, against the reference, bit for bit. */
class LogitScanTest {

  private static final String TIERS = "dev.baton.device.cpu.Tiers#running";
  private static final int POISON = 0x7fc12345;

  /** Everything that a scan says of some rows, as bits. */
  private record Findings(int[] peaks, int[] exponentials, long[] weights, int[] selected) {

    static Findings of(
        LogitScan scan, float[] logits, int width, float[] views, int count, int least) {
      int rows = logits.length / width;
      int blocks = LogitScan.blocks(width);
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment x = arena.allocateFrom(JAVA_FLOAT, logits);
        MemorySegment peaks = poisoned(arena, (long) rows * blocks);
        scan.peaks(peaks, x, width, 0, rows);
        MemorySegment seen = arena.allocateFrom(JAVA_FLOAT, views);
        MemorySegment exponentials = poisoned(arena, (long) count * blocks);
        scan.exponentials(exponentials, x, width, seen, count);
        MemorySegment weights = poisoned(arena, 2L * count * blocks);
        scan.weigh(weights, x, width, seen, count);
        int row = Float.floatToRawIntBits(views[0]);
        MemorySegment own = peaks.asSlice(4L * row * blocks, 4L * blocks);
        return new Findings(
            peaks.toArray(JAVA_INT),
            exponentials.toArray(JAVA_INT),
            weights.toArray(JAVA_LONG),
            selected(scan, arena, x, own, width, seen, least));
      }
    }

    private static int[] selected(
        LogitScan scan,
        Arena arena,
        MemorySegment x,
        MemorySegment peaks,
        int width,
        MemorySegment view,
        int least) {
      int blocks = LogitScan.blocks(width);
      long room = (long) blocks * LogitScan.BLOCK;
      MemorySegment ids = poisoned(arena, room);
      MemorySegment weights = poisoned(arena, room);
      MemorySegment counts = poisoned(arena, blocks);
      int from = blocks / 3;
      scan.select(ids, weights, counts, x, peaks, width, view, least, from, blocks);
      int[] all = new int[2 * (int) room];
      int n = 0;
      for (int block = from; block < blocks; block++) {
        for (int i = 0; i < counts.getAtIndex(JAVA_INT, block); i++) {
          long at = (long) block * LogitScan.BLOCK + i;
          all[n++] = ids.getAtIndex(JAVA_INT, at);
          all[n++] = weights.getAtIndex(JAVA_INT, at);
        }
      }
      return Arrays.copyOf(all, n);
    }

    private static MemorySegment poisoned(Arena arena, long ints) {
      MemorySegment memory = arena.allocate(4 * ints, 8);
      for (long i = 0; i < ints; i++) {
        memory.setAtIndex(JAVA_INT, i, POISON);
      }
      return memory;
    }

    void assertSame(Findings other, Object what) {
      Trial.assertSameBits(peaks, other.peaks, "peaks, " + what);
      Trial.assertSameBits(exponentials, other.exponentials, "exponentials, " + what);
      assertThat(weights).as("weights, " + what).isEqualTo(other.weights);
      Trial.assertSameBits(selected, other.selected, "selected, " + what);
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void everyPassEqualsTheReference(String tier) {
    Trial trial = Trial.named("logit scan, " + tier);
    LogitScan reference = new ReferenceLogitScan();
    try (Device cpu = Tiers.open(tier)) {
      LogitScan scan = cpu.openLogitScan();
      for (int i = 0; i < 60; i++) {
        int width = trial.between(1, 1500);
        int rows = trial.between(1, 4);
        float[] logits = trial.normal((long) rows * width, Math.exp(trial.random.nextGaussian()));
        spoil(trial, logits);
        int count = trial.between(1, rows);
        float[] views = new float[4 * count];
        for (int v = 0; v < count; v++) {
          int row = trial.between(0, rows - 1);
          views[4 * v] = Float.intBitsToFloat(row);
          views[4 * v + 1] = largest(logits, row, width);
          views[4 * v + 2] = trial.oneOf(1, 2, 10) / 2f;
          views[4 * v + 3] =
              trial.random.nextBoolean()
                  ? Float.NEGATIVE_INFINITY
                  : views[4 * v + 1] - trial.random.nextFloat() * 4;
        }
        int least = trial.oneOf(0, 1, 1 << 10, LogitScan.ONE / 3, LogitScan.ONE);
        Findings.of(scan, logits, width, views, count, least)
            .assertSame(
                Findings.of(reference, logits, width, views, count, least),
                "%s: rows %d, width %d, least %d".formatted(tier, rows, width, least));
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void aPeakTellsOfANotANumberAndOfInfinityWhereverItStands(String tier) {
    try (Device cpu = Tiers.open(tier);
        Arena arena = Arena.ofConfined()) {
      LogitScan scan = cpu.openLogitScan();
      int width = 300;
      MemorySegment peaks = arena.allocate(JAVA_FLOAT, LogitScan.blocks(width));
      for (int at = 0; at < width; at++) {
        for (float bad : new float[] {Float.NaN, -Float.NaN, Float.POSITIVE_INFINITY}) {
          float[] row = new float[width];
          row[at] = bad;
          row[(at + 1) % width] = Float.NEGATIVE_INFINITY;
          scan.peaks(peaks, arena.allocateFrom(JAVA_FLOAT, row), width, 0, 1);
          for (int block = 0; block < LogitScan.blocks(width); block++) {
            float peak = peaks.getAtIndex(JAVA_FLOAT, block);
            assertThat(Float.isNaN(peak)).isEqualTo(block == at / LogitScan.BLOCK);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void theLargestWeighsOneAndTheUnlikelyNothing(String tier) {
    try (Device cpu = Tiers.open(tier);
        Arena arena = Arena.ofConfined()) {
      float[] row = {-30f, 5f, Float.NEGATIVE_INFINITY, 5f - (float) Math.log(2), -200f};
      MemorySegment view =
          arena.allocateFrom(JAVA_FLOAT, Float.intBitsToFloat(0), 5f, 1f, Float.NEGATIVE_INFINITY);
      MemorySegment sum = arena.allocate(JAVA_LONG);
      cpu.openLogitScan().weigh(sum, arena.allocateFrom(JAVA_FLOAT, row), row.length, view, 1);
      assertThat(sum.get(JAVA_LONG, 0))
          .isBetween(3L * LogitScan.ONE / 2 - 200, 3L * LogitScan.ONE / 2 + 200);
    }
  }

  @Test
  void memoryThatIsTooSmallOrOnTheHeapIsRefused() {
    try (Device cpu = CpuDevice.open("scalar", "1", 1);
        Arena arena = Arena.ofConfined()) {
      LogitScan scan = cpu.openLogitScan();
      MemorySegment logits = arena.allocate(4 * 200);
      assertThatThrownBy(() -> scan.peaks(arena.allocate(4), logits, 200, 0, 1))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("peaks: 4 bytes");
      assertThatThrownBy(() -> scan.peaks(arena.allocate(8), logits, 200, 1, 1))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("logits: 800 bytes");
      assertThatThrownBy(
              () -> scan.peaks(arena.allocate(8), MemorySegment.ofArray(new float[200]), 200, 0, 1))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("on the heap");
    }
  }

  /** Ties, zeros of both signs, infinities; now and then what no row may have. */
  private static void spoil(Trial trial, float[] logits) {
    int kind = trial.between(0, 3);
    for (int i = 0; i < logits.length; i++) {
      switch (kind) {
        case 0 -> logits[i] = Math.round(logits[i] * 2) / 2f;
        case 1 -> {
          if (trial.random.nextInt(5) == 0) {
            logits[i] = trial.random.nextBoolean() ? Float.NEGATIVE_INFINITY : -0f;
          }
        }
        default -> {}
      }
    }
  }

  private static float largest(float[] logits, int row, int width) {
    float largest = Float.NEGATIVE_INFINITY;
    for (int i = row * width; i < (row + 1) * width; i++) {
      largest = Math.max(largest, logits[i]);
    }
    return largest == Float.NEGATIVE_INFINITY ? 0f : largest;
  }
}
