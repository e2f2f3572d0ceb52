package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import dev.baton.device.Ops;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import dev.baton.device.Trial;
import dev.baton.device.reference.ReferenceDevice;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Rotation, cache and attention of every tier against the reference, bit for bit. */
class AttentionTest {

  private static final String TIERS = "dev.baton.device.cpu.Tiers#running";

  private static final List<DType> DTYPES = List.of(DType.FLOAT32, DType.BFLOAT16, DType.INT8);

  /** Positions [from, to) of a sequence that run in one step. */
  private record Chunk(int sequence, int from, int to) {}

  /** Sequences with random content, run chunk by chunk. */
  private record Scenario(
      KvShape shape, int heads, int window, int[] lengths, int[][] tables, long contentSeed) {

    static Scenario random(Trial trial) {
      int kvHeads = trial.oneOf(1, 2, 3, 4, 9);
      int dim = trial.oneOf(8, 16, 24, 40, 64, 80, 128);
      int blockTokens = trial.oneOf(32, 64, 96);
      int[] lengths =
          IntStream.range(0, trial.between(1, 4)).map(i -> trial.between(1, 200)).toArray();
      List<Integer> numbers = new ArrayList<>();
      int blocks = 1 + Arrays.stream(lengths).map(n -> (n + blockTokens - 1) / blockTokens).sum();
      for (int i = 0; i < blocks; i++) {
        numbers.add(i);
      }
      Collections.shuffle(numbers, trial.random);
      int[][] tables = new int[lengths.length][];
      int next = 0;
      for (int s = 0; s < lengths.length; s++) {
        tables[s] = new int[(lengths[s] + blockTokens - 1) / blockTokens];
        for (int i = 0; i < tables[s].length; i++) {
          tables[s][i] = numbers.get(next++);
        }
      }
      DType dtype = DTYPES.get(trial.between(0, DTYPES.size() - 1));
      return new Scenario(
          new KvShape(2, blocks, blockTokens, 0, kvHeads, dim, dtype),
          kvHeads * trial.oneOf(1, 2, 3, 4, 8),
          trial.oneOf(0, 0, 1, 7, 16, 33, 70),
          lengths,
          tables,
          trial.random.nextLong());
    }

    /** All chunks in an order that a scheduler could choose, several of them in one step. */
    List<List<Chunk>> steps(Trial trial) {
      int[] done = new int[lengths.length];
      List<List<Chunk>> steps = new ArrayList<>();
      while (!Arrays.equals(done, lengths)) {
        List<Chunk> step = new ArrayList<>();
        boolean decodes = trial.random.nextInt(3) == 0;
        for (int s = 0; s < lengths.length; s++) {
          if (done[s] < lengths[s] && trial.random.nextInt(3) > 0) {
            int tokens = decodes ? 1 : trial.oneOf(1, 5, 16, 50, 100);
            int to = Math.min(lengths[s], done[s] + tokens);
            step.add(new Chunk(s, done[s], to));
            done[s] = to;
          }
        }
        if (!step.isEmpty()) {
          steps.add(step);
        }
      }
      return steps;
    }

    /** Queries, keys and values of one token; the same on every device and in every step. */
    float[] content(int sequence, int position, int which, int width) {
      java.util.Random random =
          new java.util.Random(contentSeed + 1000L * sequence + 7L * position + which);
      random.nextLong();
      float[] values = new float[width];
      for (int i = 0; i < width; i++) {
        values[i] = (float) random.nextGaussian();
      }
      return values;
    }

    /** Bits of each token's output, and of the whole cache: the last entry. */
    List<int[]> run(Device device, List<List<Chunk>> steps) {
      int dim = shape.headDim();
      int longest = Arrays.stream(lengths).max().orElseThrow();
      Ops ops = device.openRanks(1).getFirst();
      KvCache cache = device.allocateKvCache(shape);
      poison(device, cache);
      Tensor cos = Trial.tensor(device, longest, dim / 2, angles(longest, true));
      Tensor sin = Trial.tensor(device, longest, dim / 2, angles(longest, false));
      int[][][] outputs = new int[lengths.length][longest][];
      for (List<Chunk> step : steps) {
        int tokens = step.stream().mapToInt(c -> c.to - c.from).sum();
        StepBatch batch = device.allocateStepBatch(tokens, lengths.length, longest);
        float[] q = new float[tokens * heads * dim];
        float[] k = new float[tokens * shape.kvHeads() * dim];
        float[] v = new float[k.length];
        batch.begin();
        int token = 0;
        for (Chunk chunk : step) {
          batch.addSequence(tables[chunk.sequence], tables[chunk.sequence].length);
          for (int p = chunk.from; p < chunk.to; p++, token++) {
            batch.addToken(1, p, false);
            put(q, token, content(chunk.sequence, p, 0, heads * dim));
            put(k, token, content(chunk.sequence, p, 1, shape.kvHeads() * dim));
            put(v, token, content(chunk.sequence, p, 2, shape.kvHeads() * dim));
          }
        }
        batch.seal();
        Tensor queries = Trial.tensor(device, tokens, heads * dim, q);
        Tensor keys = Trial.tensor(device, tokens, shape.kvHeads() * dim, k);
        Tensor values = Trial.tensor(device, tokens, shape.kvHeads() * dim, v);
        Tensor out = Trial.poisoned(device, tokens, heads * dim);
        ops.ropeStore(queries, keys, values, cos, sin, cache, 1, batch);
        ops.attention(out, queries, cache, 1, batch, 0.3f, window);
        token = 0;
        for (Chunk chunk : step) {
          for (int p = chunk.from; p < chunk.to; p++, token++) {
            outputs[chunk.sequence][p] =
                Arrays.copyOfRange(Trial.bits(out), token * heads * dim, (token + 1) * heads * dim);
          }
        }
      }
      List<int[]> all = new ArrayList<>();
      for (int s = 0; s < lengths.length; s++) {
        all.addAll(Arrays.asList(outputs[s]).subList(0, lengths[s]));
        all.add(packed(device, cache, tables[s], lengths[s]));
      }
      return all;
    }

    private float[] angles(int positions, boolean cosine) {
      int half = shape.headDim() / 2;
      float[] values = new float[positions * half];
      for (int i = 0; i < values.length; i++) {
        double angle = i / half * Math.pow(10000, -(i % half) / (double) half);
        values[i] = (float) (cosine ? Math.cos(angle) : Math.sin(angle));
      }
      return values;
    }

    private static void put(float[] rows, int row, float[] values) {
      System.arraycopy(values, 0, rows, row * values.length, values.length);
    }

    /** NaN in every slot of the cache. */
    private void poison(Device device, KvCache cache) {
      int[] table = IntStream.range(0, shape.blocks()).toArray();
      SlabRegion all = region(0, shape.blocks() * shape.blockTokens(), DType.FLOAT32);
      float[] nan = new float[Math.toIntExact(all.bytes() / 4)];
      Arrays.fill(nan, Trial.POISON);
      device.unpackKv(cache, table, all, MemorySegment.ofArray(nan));
    }

    private int[] packed(Device device, KvCache cache, int[] table, int length) {
      SlabRegion region = region(0, length, DType.FLOAT32);
      MemorySegment slab = MemorySegment.ofArray(new int[Math.toIntExact(region.bytes() / 4)]);
      device.packKv(cache, table, region, slab);
      return slab.toArray(JAVA_INT);
    }

    private SlabRegion region(int from, int to, DType dtype) {
      return new SlabRegion(1, 2, 0, shape.kvHeads(), from, to, shape.headDim(), dtype);
    }

    @Override
    public String toString() {
      return "%s, heads %d, window %d, lengths %s"
          .formatted(shape, heads, window, Arrays.toString(lengths));
    }
  }

  /** The reference is much the slowest, so each scenario runs on it once for all tiers. */
  @Test
  void everyTierEqualsTheReferenceOverAnyMixOfChunks() {
    Trial trial = Trial.named("attention");
    for (int i = 0; i < 20; i++) {
      Scenario scenario = Scenario.random(trial);
      List<List<Chunk>> steps = scenario.steps(trial);
      List<int[]> expected;
      try (Device reference = ReferenceDevice.open()) {
        expected = scenario.run(reference, steps);
      }
      for (String tier : Tiers.running().toList()) {
        try (Device cpu = Tiers.open(tier)) {
          assertSame(scenario.run(cpu, steps), expected, tier + ", " + scenario);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void givesATokenTheSameBitsInAnyChunkAndAnyCompany(String tier) {
    Trial trial = Trial.named("chunks, " + tier);
    for (int i = 0; i < 10; i++) {
      Scenario scenario = Scenario.random(trial);
      try (Device cpu = Tiers.open(tier)) {
        List<int[]> some = scenario.run(cpu, scenario.steps(trial));
        assertSame(some, scenario.run(cpu, scenario.steps(trial)), scenario);
      }
    }
  }

  private static void assertSame(List<int[]> actual, List<int[]> expected, Object what) {
    assertThat(actual).hasSameSizeAs(expected);
    for (int i = 0; i < actual.size(); i++) {
      Trial.assertSameBits(actual.get(i), expected.get(i), "entry %d of %s".formatted(i, what));
      assertThat(Arrays.stream(actual.get(i)).anyMatch(AttentionTest::isNaN))
          .as("entry %d of %s has a NaN", i, what)
          .isFalse();
    }
  }

  private static boolean isNaN(int bits) {
    return Float.isNaN(Float.intBitsToFloat(bits));
  }
}
