package dev.baton.engine.sample;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.Device;
import dev.baton.device.LogitScan;
import dev.baton.device.cpu.CpuDevice;
import dev.baton.device.reference.ReferenceLogitScan;
import dev.baton.engine.PromptLogprobs;
import dev.baton.engine.SampledToken.Logprobs;
import dev.baton.engine.Sampling;
import dev.baton.engine.checkpoint.Seed;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** The sampler against the same rules written naively, in doubles, with everything sorted. */
class SamplerOracleTest {

  /** What float32 exponentials and whole weights may move a border, as a share of the total. */
  private static final double SLACK = 2e-5;

  private static final int[] NO_TOKENS = {};

  @Test
  void everyDrawLiesWhereTheSortedDistributionHasIt() {
    Random random = Seed.random("sampler oracle");
    try (Device device = CpuDevice.open();
        Arena arena = Arena.ofConfined()) {
      LogitScan scan = device.openLogitScan();
      for (int round = 0; round < 400; round++) {
        int vocabulary = 1 + random.nextInt(round % 8 == 0 ? 5000 : 600);
        float[] logits = logits(random, vocabulary);
        Sampling sampling = sampling(random, vocabulary);
        int index = random.nextInt(1 << 20);
        Sampler sampler = new Sampler(scan, vocabulary, 1);
        sampler.begin();
        sampler.draw(sampling, null, NO_TOKENS, 0, index);
        sampler.run(arena.allocateFrom(ValueLayout.JAVA_FLOAT, logits));
        assertThat(sampler.failure(0)).isNull();
        checkDraw(logits, sampling, index, sampler.token(0));
      }
    }
  }

  @Test
  void logProbabilitiesAndRanksAreThoseOfTheSortedRow() {
    Random random = Seed.random("logprobs oracle");
    for (int round = 0; round < 200; round++) {
      int vocabulary = 1 + random.nextInt(900);
      float[] logits = logits(random, vocabulary);
      int target = random.nextInt(vocabulary);
      int tops = random.nextInt(21);
      Sampler sampler = new Sampler(new ReferenceLogitScan(), vocabulary, 1);
      sampler.begin();
      sampler.score(target, tops);
      sampler.run(MemorySegment.ofArray(logits));

      double largest = IntStream.range(0, vocabulary).mapToDouble(i -> logits[i]).max().orElse(0);
      double sum = 0;
      for (float logit : logits) {
        sum += Math.exp(logit - largest);
      }
      double normalizer = largest + Math.log(sum);
      Integer[] order = sorted(logits);
      Logprobs logprobs = sampler.logprobs(0);
      assertThat(logprobs.top()).hasSize(Math.min(tops, vocabulary));
      for (int place = 0; place < logprobs.top().size(); place++) {
        assertThat(logprobs.top().get(place).id()).isEqualTo(order[place]);
        same(logprobs.top().get(place).logprob(), logits[order[place]] - normalizer);
      }
      same(logprobs.chosen(), logits[target] - normalizer);
      PromptLogprobs score = PromptLogprobs.of(1, logprobs.top().size());
      sampler.writeScore(0, score, 0);
      assertThat(score.chosen()[0]).isEqualTo(logprobs.chosen());
      assertThat(score.ranks()[0])
          .isEqualTo(
              (int)
                  IntStream.range(0, vocabulary).filter(i -> logits[i] >= logits[target]).count());
    }
  }

  @Test
  void allTiersAndTheReferenceChooseAlikeWhateverTheRowsBeside() {
    Random random = Seed.random("sampler, native and reference");
    try (Device device = CpuDevice.open();
        Arena arena = Arena.ofConfined()) {
      LogitScan scan = device.openLogitScan();
      for (int round = 0; round < 60; round++) {
        int vocabulary = 1 + random.nextInt(2000);
        int rows = 1 + random.nextInt(6);
        float[] all = new float[rows * vocabulary];
        Sampling[] samplings = new Sampling[rows];
        Sampler together = new Sampler(scan, vocabulary, rows);
        for (int row = 0; row < rows; row++) {
          System.arraycopy(logits(random, vocabulary), 0, all, row * vocabulary, vocabulary);
          samplings[row] = sampling(random, vocabulary).with(draft -> draft.logprobs = 3);
        }
        together.begin();
        for (int row = 0; row < rows; row++) {
          together.draw(samplings[row], null, NO_TOKENS, 0, row);
        }
        together.run(arena.allocateFrom(ValueLayout.JAVA_FLOAT, all));
        for (int row = 0; row < rows; row++) {
          Sampler alone = new Sampler(new ReferenceLogitScan(), vocabulary, 1);
          alone.begin();
          alone.draw(samplings[row], null, NO_TOKENS, 0, row);
          alone.run(
              MemorySegment.ofArray(
                  Arrays.copyOfRange(all, row * vocabulary, (row + 1) * vocabulary)));
          assertThat(together.token(row)).isEqualTo(alone.token(0));
          assertThat(together.logprobs(row)).isEqualTo(alone.logprobs(0));
        }
      }
    }
  }

  private static void checkDraw(float[] logits, Sampling sampling, int index, int token) {
    Integer[] order = sorted(logits);
    double temperature = sampling.temperature();
    double largest = logits[order[0]];
    double[] weights = new double[logits.length];
    double total = 0;
    int limit = sampling.topK() == 0 ? logits.length : Math.min(sampling.topK(), logits.length);
    for (int rank = 0; rank < limit; rank++) {
      double weight = Math.exp((logits[order[rank]] - largest) / temperature);
      if (weight >= sampling.minP() * (1 - 1e-6)) {
        weights[order[rank]] = weight;
        total += weight;
      }
    }
    // The fewest that surely reach p, and one more where rounding decides.
    double wanted = sampling.topP() * total;
    double mass = 0;
    double[] least = new double[logits.length];
    double[] most = new double[logits.length];
    for (int rank = 0; rank < limit; rank++) {
      if (mass <= wanted + SLACK * total) {
        most[order[rank]] = weights[order[rank]];
      }
      if (mass < wanted - SLACK * total) {
        least[order[rank]] = weights[order[rank]];
      }
      mass += weights[order[rank]];
    }
    assertThat(most[token]).as("%s kept of %s", token, sampling).isPositive();
    if (Arrays.equals(least, most)) {
      double kept = Arrays.stream(most).sum();
      double before = 0;
      for (int id = 0; id < token; id++) {
        before += most[id];
      }
      double uniform = Philox.uniform(sampling.seed(), index, new int[4]);
      assertThat(uniform * kept)
          .as("%s of %s", token, sampling)
          .isBetween(before - SLACK * kept, before + most[token] + SLACK * kept);
    }
  }

  private static Integer[] sorted(float[] logits) {
    Integer[] order = IntStream.range(0, logits.length).boxed().toArray(Integer[]::new);
    Arrays.sort(
        order, Comparator.comparing((Integer id) -> -(logits[id] + 0f)).thenComparing(id -> id));
    return order;
  }

  private static void same(float actual, double expected) {
    if (Double.isInfinite(expected)) {
      assertThat(actual).isEqualTo((float) expected);
    } else {
      assertThat((double) actual)
          .isBetween(
              expected - 1e-5 - 1e-6 * Math.abs(expected),
              expected + 1e-5 + 1e-6 * Math.abs(expected));
    }
  }

  private static Sampling sampling(Random random, int vocabulary) {
    return Sampling.greedy(1)
        .with(
            draft -> {
              draft.temperature = 0.2f + 1.8f * random.nextFloat();
              draft.seed = random.nextLong();
              draft.topK = random.nextBoolean() ? 0 : 1 + random.nextInt(vocabulary + 10);
              draft.topP = random.nextBoolean() ? 1f : 1f - random.nextFloat();
              draft.minP = random.nextInt(3) > 0 ? 0f : random.nextFloat() * 0.3f;
            });
  }

  /** Peaked or flat, all equal, in steps with many ties, with holes. */
  private static float[] logits(Random random, int vocabulary) {
    float[] logits = new float[vocabulary];
    int kind = random.nextInt(5);
    float scale = (float) Math.exp(2 * random.nextGaussian());
    for (int id = 0; id < vocabulary; id++) {
      float normal = (float) random.nextGaussian() * scale;
      logits[id] =
          switch (kind) {
            case 0 -> 1.5f;
            case 1 -> Math.round(normal * 2) / 2f;
            case 2 -> random.nextInt(3) == 0 ? Float.NEGATIVE_INFINITY : normal;
            default -> normal;
          };
    }
    logits[random.nextInt(vocabulary)] = kind == 0 ? 1.5f : scale;
    return logits;
  }
}
