package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.Device;
import dev.baton.device.LogitScan;
import dev.baton.device.Trial;
import dev.baton.device.reference.ReferenceLogitScan;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Passes over logits, of every tier, against the reference, bit for bit. */
class LogitScanTest {

  private static final String TIERS = "dev.baton.device.cpu.Tiers#running";
  private static final int POISON = 0x7fc12345;
  private static final int MOST = 8;

  /** What is asked of a scan: views, and draws and rankings of the same rows. */
  private record Questions(float[] views, MemorySegment draws, MemorySegment rankings, int count) {}

  /** Everything that a scan says of some rows, as bits. */
  private record Findings(
      int[] best, int[] peaks, int[] exponentials, int[] tokens, int[] ids, int[] reached) {

    static Findings of(LogitScan scan, float[] logits, int width, Questions asked) {
      int rows = logits.length / width;
      int blocks = LogitScan.blocks(width);
      int count = asked.count();
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment x = arena.allocateFrom(JAVA_FLOAT, logits);
        MemorySegment best = poisoned(arena, 2L * rows);
        MemorySegment peaks = poisoned(arena, (long) rows * blocks);
        scan.peaks(best, peaks, x, width, 0, rows);
        MemorySegment seen = arena.allocateFrom(JAVA_FLOAT, asked.views());
        MemorySegment exponentials = poisoned(arena, (long) count * blocks);
        scan.exponentials(exponentials, x, width, seen, count);
        MemorySegment tokens = poisoned(arena, count);
        MemorySegment sums = poisoned(arena, 2L * count * blocks);
        scan.draw(tokens, x, peaks, width, sums, asked.draws(), count);
        MemorySegment ids = poisoned(arena, (long) count * MOST);
        MemorySegment reached = poisoned(arena, count);
        scan.rank(ids, reached, x, peaks, width, asked.rankings(), count, MOST);
        return new Findings(
            best.toArray(JAVA_INT),
            peaks.toArray(JAVA_INT),
            exponentials.toArray(JAVA_INT),
            tokens.toArray(JAVA_INT),
            ids.toArray(JAVA_INT),
            reached.toArray(JAVA_INT));
      }
    }

    private static MemorySegment poisoned(Arena arena, long ints) {
      MemorySegment memory = arena.allocate(4 * ints, 8);
      for (long i = 0; i < ints; i++) {
        memory.setAtIndex(JAVA_INT, i, POISON);
      }
      return memory;
    }

    void assertSame(Findings other, Object what) {
      Trial.assertSameBits(best, other.best, "best, " + what);
      Trial.assertSameBits(peaks, other.peaks, "peaks, " + what);
      Trial.assertSameBits(exponentials, other.exponentials, "exponentials, " + what);
      Trial.assertSameBits(tokens, other.tokens, "tokens, " + what);
      Trial.assertSameBits(ids, other.ids, "ids, " + what);
      Trial.assertSameBits(reached, other.reached, "reached, " + what);
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void everyPassEqualsTheReference(String tier) {
    Trial trial = Trial.named("logit scan, " + tier);
    try (Device cpu = Tiers.open(tier)) {
      LogitScan scan = cpu.openLogitScan();
      for (int i = 0; i < 60; i++) {
        // Now and then so long that lists are narrowed down by samples.
        int width = i % 10 == 0 ? trial.between(5_000, 20_000) : trial.between(1, 1500);
        int rows = trial.between(1, 4);
        float[] logits = trial.normal((long) rows * width, Math.exp(trial.random.nextGaussian()));
        spoil(trial, logits);
        for (int row = 0; row < rows; row++) {
          // No row without a largest.
          logits[row * width + trial.between(0, width - 1)] = trial.random.nextFloat();
        }
        Questions asked = questions(trial, logits, width, trial.between(1, rows));
        check(scan, logits, width, asked, "%s, round %d".formatted(tier, i));
      }
    }
  }

  private static void check(
      LogitScan scan, float[] logits, int width, Questions asked, String what) {
    Findings.of(scan, logits, width, asked)
        .assertSame(
            Findings.of(new ReferenceLogitScan(), logits, width, asked),
            "%s: rows %d, width %d".formatted(what, logits.length / width, width));
  }

  /** Nuclei of tens of thousands of tokens, which are found by a sample: a good one, and others. */
  @ParameterizedTest
  @MethodSource(TIERS)
  void aNucleusOfVeryManyTokensIsTheReferencesWhateverASampleSays(String tier) {
    Trial trial = Trial.named("wide nuclei, " + tier);
    try (Device cpu = Tiers.open(tier)) {
      LogitScan scan = cpu.openLogitScan();
      for (int i = 0; i < 10; i++) {
        int width = trial.between(40_000, 70_000);
        float[] logits = trial.normal(width, 0.3);
        int every = width / 64;
        for (int id = 0; id < width; id++) {
          logits[id] =
              switch (i % 5) {
                case 0 -> 1;
                case 1 -> Math.round(logits[id] * 8) / 8f;
                // A sample sees the heavy tokens only, or the light ones.
                case 2 -> id % every < 24 ? logits[id] + 1 : logits[id];
                case 3 -> id % every < 24 ? -20 : logits[id];
                default -> logits[id];
              };
        }
        Questions asked = questions(trial, logits, width, 1);
        for (float p : new float[] {1e-6f, 0.03f, 0.5f, 0.9f, 0.999f}) {
          asked.draws().set(JAVA_INT, 16, 0);
          asked.draws().set(JAVA_FLOAT, 20, p);
          check(scan, logits, width, asked, "%s, p %s, round %d".formatted(tier, p, i));
        }
      }
    }
  }

  private static Questions questions(Trial trial, float[] logits, int width, int count) {
    float[] views = new float[4 * count];
    MemorySegment draws = Arena.ofAuto().allocate((long) count * LogitScan.DRAW_BYTES, 8);
    MemorySegment rankings = Arena.ofAuto().allocate((long) count * LogitScan.RANKING_BYTES, 8);
    for (int v = 0; v < count; v++) {
      int row = trial.between(0, logits.length / width - 1);
      float peak = largest(logits, row, width);
      views[4 * v] = Float.intBitsToFloat(row);
      views[4 * v + 1] = peak;
      views[4 * v + 2] = trial.oneOf(1, 2, 10) / 2f;
      views[4 * v + 3] =
          trial.random.nextBoolean()
              ? Float.NEGATIVE_INFINITY
              : peak - trial.random.nextFloat() * 4;
      long draw = (long) v * LogitScan.DRAW_BYTES;
      for (int word = 0; word < 4; word++) {
        draws.set(JAVA_FLOAT, draw + 4L * word, views[4 * v + word]);
      }
      draws.set(JAVA_INT, draw + 16, trial.oneOf(0, 0, 0, 1, trial.between(1, width + 1)));
      draws.set(JAVA_FLOAT, draw + 20, trial.oneOf(0, 1, 2, 3, 4, 4) / 4f + 1e-7f);
      draws.set(JAVA_DOUBLE, draw + 24, trial.random.nextDouble());
      long ranking = (long) v * LogitScan.RANKING_BYTES;
      rankings.set(JAVA_INT, ranking, row);
      rankings.set(JAVA_FLOAT, ranking + 4, peak);
      rankings.set(JAVA_INT, ranking + 8, trial.between(0, Math.min(width, MOST)));
      rankings.set(JAVA_FLOAT, ranking + 12, logits[row * width + trial.between(0, width - 1)]);
    }
    return new Questions(views, draws, rankings, count);
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void aPeakTellsOfANotANumberAndOfInfinityWhereverItStands(String tier) {
    try (Device cpu = Tiers.open(tier);
        Arena arena = Arena.ofConfined()) {
      LogitScan scan = cpu.openLogitScan();
      int width = 300;
      MemorySegment peaks = arena.allocate(JAVA_FLOAT, LogitScan.blocks(width));
      MemorySegment best = arena.allocate(LogitScan.BEST_BYTES, 4);
      for (int at = 0; at < width; at++) {
        for (float bad : new float[] {Float.NaN, -Float.NaN, Float.POSITIVE_INFINITY}) {
          float[] row = new float[width];
          row[at] = bad;
          row[(at + 1) % width] = Float.NEGATIVE_INFINITY;
          scan.peaks(best, peaks, arena.allocateFrom(JAVA_FLOAT, row), width, 0, 1);
          assertThat(best.get(JAVA_FLOAT, 0)).isNaN();
          assertThat(best.get(JAVA_INT, 4)).isEqualTo(at);
          for (int block = 0; block < LogitScan.blocks(width); block++) {
            float peak = peaks.getAtIndex(JAVA_FLOAT, block);
            assertThat(Float.isNaN(peak)).isEqualTo(block == at / LogitScan.BLOCK);
          }
        }
      }
    }
  }

  @Test
  void memoryThatIsTooSmallOrOnTheHeapIsRefused() {
    try (Device cpu = CpuDevice.open("scalar", "1", 1);
        Arena arena = Arena.ofConfined()) {
      LogitScan scan = cpu.openLogitScan();
      MemorySegment logits = arena.allocate(4 * 200);
      MemorySegment best = arena.allocate(LogitScan.BEST_BYTES);
      assertThatThrownBy(() -> scan.peaks(best, arena.allocate(4), logits, 200, 0, 1))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("peaks: 4 bytes");
      assertThatThrownBy(() -> scan.peaks(best, arena.allocate(8), logits, 200, 1, 1))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("logits: 800 bytes");
      assertThatThrownBy(
              () ->
                  scan.peaks(
                      best, arena.allocate(8), MemorySegment.ofArray(new float[200]), 200, 0, 1))
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
    return largest;
  }
}
