package dev.baton.engine.sample;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.LogitScan;
import dev.baton.device.Tensor;
import dev.baton.device.cpu.CpuDevice;
import dev.baton.engine.Sampling;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Times whole sampling steps over a vocabulary of 128,256 and prints microseconds, the median of
 * several rounds: {@code java -cp <test class path> dev.baton.engine.sample.SamplerBench [ROWS
 * ...]}. Before each step the rows are written, as a forward pass has just done.
 */
final class SamplerBench {

  private static final int VOCABULARY = 128_256;
  private static final int ROUNDS = 15;
  private static final int PROMPT = 2000;
  private static final long WARM_UP_NANOS = 400_000_000;

  private SamplerBench() {}

  public static void main(String[] args) {
    int[] sizes =
        args.length == 0
            ? new int[] {1, 8, 32, 64}
            : Arrays.stream(args).mapToInt(Integer::parseInt).toArray();
    Map<String, Consumer<Sampling.Draft>> cases = new LinkedHashMap<>();
    cases.put("greedy", draft -> {});
    cases.put("greedy, 5 logprobs", draft -> draft.logprobs = 5);
    cases.put("temperature", draft -> draft.temperature = 0.8f);
    cases.put("top_k 50", drawn(draft -> draft.topK = 50));
    cases.put("top_p 0.9", drawn(draft -> draft.topP = 0.9f));
    cases.put("min_p 0.05", drawn(draft -> draft.minP = 0.05f));
    cases.put(
        "top_k 50, top_p 0.9, 5 logprobs",
        drawn(
            draft -> {
              draft.topK = 50;
              draft.topP = 0.9f;
              draft.logprobs = 5;
            }));
    cases.put(
        "top_p 0.9, penalties over 2000 tokens",
        drawn(
            draft -> {
              draft.topP = 0.9f;
              draft.repetitionPenalty = 1.1f;
              draft.presencePenalty = 0.5f;
            }));
    try (Device device = CpuDevice.open()) {
      System.out.println(device.description());
      LogitScan scan = device.openLogitScan();
      for (int rows : sizes) {
        Tensor logits = device.allocate(DType.FLOAT32, rows, VOCABULARY);
        Random random = new Random(1);
        float[] row = new float[VOCABULARY];
        for (double scale : new double[] {2.5, 0.5}) {
          for (int id = 0; id < VOCABULARY; id++) {
            row[id] = (float) (random.nextGaussian() * scale);
          }
          if (scale > 1) {
            // As a trained model has it: a few tokens far above the rest.
            for (int i = 0; i < 20; i++) {
              row[random.nextInt(VOCABULARY)] = 14f - i / 2f;
            }
          }
          for (Map.Entry<String, Consumer<Sampling.Draft>> entry : cases.entrySet()) {
            double micros = measure(scan, logits, row, rows, entry.getValue());
            System.out.printf(
                "%-7s %2d rows  %-40s %8.0f us a step %7.1f us a row%n",
                scale > 1 ? "peaked" : "flat", rows, entry.getKey(), micros, micros / rows);
          }
        }
      }
    }
  }

  private static Consumer<Sampling.Draft> drawn(Consumer<Sampling.Draft> more) {
    return more.andThen(draft -> draft.temperature = 0.8f);
  }

  private static double measure(
      LogitScan scan, Tensor logits, float[] row, int rows, Consumer<Sampling.Draft> change) {
    Sampling sampling = Sampling.greedy(100_000).with(change);
    Sampler sampler = new Sampler(scan, VOCABULARY, rows);
    int[] tokens = new Random(2).ints(PROMPT, 0, VOCABULARY).toArray();
    @Nullable Adjustments[] adjustments = new @Nullable Adjustments[rows];
    for (int i = 0; i < rows; i++) {
      adjustments[i] = Adjustments.of(sampling, PROMPT / 2, List.of());
    }
    double[] rounds = new double[ROUNDS];
    long warm = System.nanoTime() + WARM_UP_NANOS;
    int index = 0;
    for (int round = -1; round < ROUNDS; round++) {
      long spent = 0;
      int steps = 0;
      while (round < 0 ? System.nanoTime() < warm : steps < Math.max(1, 16 / rows)) {
        for (int i = 0; i < rows; i++) {
          MemorySegment.copy(
              row,
              0,
              logits.segment(),
              ValueLayout.JAVA_FLOAT,
              (long) i * VOCABULARY * Float.BYTES,
              VOCABULARY);
        }
        long begun = System.nanoTime();
        sampler.begin();
        for (int i = 0; i < rows; i++) {
          sampler.draw(sampling, adjustments[i], tokens, tokens.length, index++);
        }
        sampler.run(logits.segment());
        spent += System.nanoTime() - begun;
        steps++;
      }
      if (round >= 0) {
        rounds[round] = spent / 1000.0 / steps;
      }
    }
    Arrays.sort(rounds);
    return rounds[ROUNDS / 2];
  }
}
