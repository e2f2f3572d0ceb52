package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.baton.device.LogitScan;
import dev.baton.device.Trial;
import dev.baton.device.cuda.EmulatedGpu.Grid;
import dev.baton.device.reference.ReferenceLogitScan;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

/** Passes over logits on the emulated GPU, bit for bit those of the reference. */
final class LogitKernelTest {

  private static final ReferenceLogitScan REFERENCE = new ReferenceLogitScan();
  private static final int ROWS = 3;

  /** Rows of logits with ties, zeros of both signs and elements far below the peak. */
  private static float[] logits(Trial trial, int width) {
    float[] values = trial.normal((long) ROWS * width, 3);
    for (int i = 0; i < values.length; i++) {
      switch (trial.random.nextInt(6)) {
        case 0 -> values[i] = Math.round(values[i]);
        case 1 -> values[i] = -0f;
        case 2 -> values[i] = Float.NEGATIVE_INFINITY;
        default -> {}
      }
    }
    return values;
  }

  private static float peak(float[] values, int row, int width) {
    float peak = Float.NEGATIVE_INFINITY;
    for (int c = 0; c < width; c++) {
      peak = Math.max(peak, values[row * width + c]);
    }
    return peak + 0f;
  }

  @Test
  void peaksAndBestAreThoseOfTheReference() {
    Trial trial = Trial.named("peaks");
    for (int round = 0; round < 4; round++) {
      int width = trial.between(1, 1500);
      float[] values = logits(trial, width);
      if (round == 1) {
        values[width + trial.random.nextInt(width)] = Float.NaN;
        values[width + trial.random.nextInt(width)] = Float.POSITIVE_INFINITY;
      }
      int blocks = LogitScan.blocks(width);
      try (EmulatedGpu gpu = new EmulatedGpu()) {
        MemorySegment logits = gpu.floats(values);
        MemorySegment peaks = gpu.bytes(4L * 2 * blocks);
        MemorySegment best = gpu.bytes(2L * LogitScan.BEST_BYTES);
        gpu.launch(
            "logit_peaks", new Grid((blocks + 7) / 8, 2, 1), 256, 0, peaks, logits, width, 1);
        gpu.launch("logit_best", new Grid(2, 1, 1), 256, 128, best, peaks, logits, width, 1);
        MemorySegment expectedPeaks = MemorySegment.ofArray(new byte[8 * blocks]);
        MemorySegment expectedBest = MemorySegment.ofArray(new byte[2 * LogitScan.BEST_BYTES]);
        REFERENCE.peaks(expectedBest, expectedPeaks, logits, width, 1, 2);
        Trial.assertSameBits(EmulatedGpu.bitsOf(peaks), words(expectedPeaks), "peaks of " + width);
        Trial.assertSameBits(EmulatedGpu.bitsOf(best), words(expectedBest), "best of " + width);
      }
    }
  }

  @Test
  void sumsOfExponentialsAreThoseOfTheReference() {
    Trial trial = Trial.named("exponentials");
    int width = trial.between(1, 700);
    float[] values = logits(trial, width);
    int blocks = LogitScan.blocks(width);
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      MemorySegment logits = gpu.floats(values);
      MemorySegment views =
          copied(
              gpu,
              gpu.struct(2, peak(values, 2, width), 0.7f, 0f, 0, peak(values, 0, width), 1f, -3f));
      MemorySegment sums = gpu.bytes(4L * 2 * blocks);
      gpu.launch(
          "logit_exponentials",
          new Grid((blocks + 15) / 16, 2, 1),
          256,
          0,
          sums,
          logits,
          width,
          views);
      MemorySegment expected = MemorySegment.ofArray(new byte[8 * blocks]);
      REFERENCE.exponentials(expected, logits, width, views, 2);
      Trial.assertSameBits(EmulatedGpu.bitsOf(sums), words(expected), "sums of " + width);
    }
  }

  @Test
  void drawsAreThoseOfTheReference() {
    Trial trial = Trial.named("draws");
    for (int round = 0; round < 8; round++) {
      int width = trial.between(1, 900);
      float[] values = logits(trial, width);
      int count = 4;
      try (EmulatedGpu gpu = new EmulatedGpu()) {
        MemorySegment logits = gpu.floats(values);
        MemorySegment draws = gpu.bytes((long) count * LogitScan.DRAW_BYTES);
        for (int i = 0; i < count; i++) {
          int row = trial.random.nextInt(ROWS);
          values[row * width] = Math.max(values[row * width], -2f);
          MemorySegment.copy(values, 0, logits, JAVA_FLOAT, 0, values.length);
          float peak = peak(values, row, width);
          MemorySegment draw =
              gpu.struct(
                  row,
                  peak,
                  trial.random.nextFloat(0.1f, 2f),
                  trial.random.nextBoolean() ? Float.NEGATIVE_INFINITY : peak - 3f,
                  trial.oneOf(0, 1, trial.between(2, 50), width),
                  trial.random.nextBoolean() ? 1f : trial.random.nextFloat(),
                  Double.doubleToRawLongBits(trial.random.nextDouble()));
          MemorySegment.copy(draw, 0, draws, (long) i * LogitScan.DRAW_BYTES, LogitScan.DRAW_BYTES);
        }
        MemorySegment tokens = gpu.bytes(4L * count);
        gpu.launch("logit_draw", new Grid(count, 1, 1), 512, 4096, tokens, logits, width, draws);
        MemorySegment expected = MemorySegment.ofArray(new byte[4 * count]);
        REFERENCE.draw(
            expected, logits, MemorySegment.NULL, width, MemorySegment.NULL, draws, count);
        Trial.assertSameBits(EmulatedGpu.bitsOf(tokens), words(expected), "tokens of " + width);
      }
    }
  }

  @Test
  void rankingsAreThoseOfTheReference() {
    Trial trial = Trial.named("rankings");
    int width = trial.between(10, 600);
    float[] values = logits(trial, width);
    int most = 9;
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      MemorySegment logits = gpu.floats(values);
      MemorySegment rankings =
          copied(
              gpu,
              gpu.struct(1, peak(values, 1, width), most, 1f, 0, peak(values, 0, width), 0, -1f));
      MemorySegment ids = gpu.bytes(4L * 2 * most);
      MemorySegment reached = gpu.bytes(8);
      gpu.launch(
          "logit_rank", new Grid(2, 1, 1), 512, 4096, ids, reached, logits, width, rankings, most);
      MemorySegment expected = MemorySegment.ofArray(new byte[8 * most]);
      expected.fill((byte) 0xff);
      MemorySegment expectedReached = MemorySegment.ofArray(new byte[8]);
      REFERENCE.rank(
          expected, expectedReached, logits, MemorySegment.NULL, width, rankings, 2, most);
      Trial.assertSameBits(EmulatedGpu.bitsOf(ids), words(expected), "ids");
      Trial.assertSameBits(EmulatedGpu.bitsOf(reached), words(expectedReached), "reached");
    }
  }

  private static MemorySegment copied(EmulatedGpu gpu, MemorySegment from) {
    MemorySegment to = gpu.bytes(from.byteSize());
    to.copyFrom(from);
    return to;
  }

  private static int[] words(MemorySegment bytes) {
    int[] words = new int[(int) (bytes.byteSize() / 4)];
    for (int i = 0; i < words.length; i++) {
      words[i] = bytes.get(JAVA_INT.withByteAlignment(1), 4L * i);
    }
    return words;
  }
}
