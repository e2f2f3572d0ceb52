package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import dev.baton.device.LinearWeight;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * Times of single operations, several ways of running them side by side:
 *
 * <pre>
 * mvn -q -pl native test-compile
 * java --enable-native-access=ALL-UNNAMED -cp ... dev.baton.device.cpu.KernelBench [SECONDS] [TIER*THREADS ...]
 * </pre>
 *
 * Rounds of all ways are interleaved and the least time of each counts, because a machine is rarely
 * quiet. Weights are walked through copies that no cache holds together, as a model's layers are.
 */
final class KernelBench {

  private static final int HIDDEN = 2048;
  private static final int WIDE = 8192;
  private static final long COLD_BYTES = 512L << 20;

  private interface Work {
    void run(int round);
  }

  private record Way(String name, Device device, Ops ops) {}

  private KernelBench() {}

  public static void main(String[] arguments) {
    double seconds = arguments.length > 0 ? Double.parseDouble(arguments[0]) : 1;
    List<Way> ways = new ArrayList<>();
    for (int i = 1; i < Math.max(2, arguments.length); i++) {
      String name = arguments.length > 1 ? arguments[i] : "";
      String[] parts = name.split("\\*");
      Device device =
          CpuDevice.open(parts[0], parts.length == 1 ? "" : parts[1], CpuTeam.PART_NANOS);
      ways.add(new Way(name, device, device.openRanks(1).getFirst()));
      System.out.println(device.description());
    }
    System.out.printf(Locale.ROOT, "memory read, Java, all processors: %.1f GB/s%n", readRate());
    linear(ways, seconds, DType.FLOAT32, 1, 64, 172);
    linear(ways, seconds, DType.FLOAT32, 1, 64, 512);
    for (int rows : new int[] {1, 8, 32, 128, 512}) {
      for (int[] shape :
          new int[][] {{HIDDEN, 512}, {HIDDEN, HIDDEN}, {HIDDEN, WIDE}, {WIDE, HIDDEN}}) {
        linear(ways, seconds, DType.BFLOAT16, rows, shape[0], shape[1]);
      }
    }
    attention(ways, seconds, 1, 4096);
    attention(ways, seconds, 512, 512);
    ways.forEach(way -> way.device().close());
  }

  private static void linear(
      List<Way> ways, double seconds, DType dtype, int rows, int inputs, int outputs) {
    long bytes = (long) inputs * outputs * dtype.bytes();
    int copies = (int) Math.clamp(COLD_BYTES / bytes, 1, rows > 32 ? 4 : 32);
    List<Work> works = new ArrayList<>();
    for (Way way : ways) {
      Device device = way.device();
      List<LinearWeight> weights = new ArrayList<>();
      for (int i = 0; i < copies; i++) {
        float[] values = normal((long) inputs * outputs);
        WeightSlice slice =
            WeightSlice.whole(MemorySegment.ofArray(values), DType.FLOAT32, outputs, inputs);
        weights.add(device.packLinear(slice, WeightFormat.of(dtype), Parallelism.ROW));
      }
      Tensor x = device.allocate(DType.FLOAT32, rows, inputs);
      device.upload(x, 0, MemorySegment.ofArray(normal((long) rows * inputs)));
      Tensor out = device.allocate(DType.FLOAT32, rows, outputs);
      works.add(round -> way.ops().linear(out, x, weights.get(round % copies), null, rows));
    }
    double operations = 2.0 * rows * inputs * outputs;
    String what = "linear %s rows %d [%d, %d]".formatted(dtype, rows, outputs, inputs);
    report(ways, what, time(works, seconds), operations, bytes);
  }

  private static void attention(List<Way> ways, double seconds, int tokens, int context) {
    KvShape shape = new KvShape(1, context / 32, 32, 0, 8, 64, DType.BFLOAT16);
    int heads = 32;
    List<Work> works = new ArrayList<>();
    for (Way way : ways) {
      Device device = way.device();
      KvCache cache = device.allocateKvCache(shape);
      StepBatch batch = device.allocateStepBatch(tokens, 1, shape.blocks());
      batch.begin();
      batch.addSequence(IntStream.range(0, shape.blocks()).toArray(), shape.blocks());
      for (int i = 0; i < tokens; i++) {
        batch.addToken(0, context - tokens + i, false);
      }
      batch.seal();
      Tensor q = device.allocate(DType.FLOAT32, tokens, (long) heads * shape.headDim());
      device.upload(q, 0, MemorySegment.ofArray(normal(q.rows() * q.columns())));
      Tensor out = device.allocate(DType.FLOAT32, tokens, (long) heads * shape.headDim());
      works.add(round -> way.ops().attention(out, q, cache, 0, batch, 0.125f, 0));
    }
    double seen = tokens * (context - (tokens - 1) / 2.0);
    String what = "attention %d tokens of %d".formatted(tokens, context);
    report(ways, what, time(works, seconds), 4 * seen * heads * 64, shape.bytes());
  }

  /** Least nanoseconds of each. */
  private static long[] time(List<Work> works, double seconds) {
    long[] least = new long[works.size()];
    java.util.Arrays.fill(least, Long.MAX_VALUE);
    long end = System.nanoTime() + (long) (seconds * 1e9) * works.size();
    for (int round = 0; round < 12 || System.nanoTime() < end; round++) {
      for (int w = 0; w < works.size(); w++) {
        // The first call of a turn wakes the helpers and is not counted.
        works.get(w).run(3 * round);
        for (int i = 1; i <= 2; i++) {
          long start = System.nanoTime();
          works.get(w).run(3 * round + i);
          least[w] = Math.min(least[w], System.nanoTime() - start);
        }
      }
    }
    return least;
  }

  private static void report(
      List<Way> ways, String what, long[] nanos, double operations, double bytes) {
    StringBuilder line = new StringBuilder("%-44s".formatted(what));
    for (int w = 0; w < nanos.length; w++) {
      line.append(
          String.format(
              Locale.ROOT,
              " | %s %.1f us, %.0f GFLOP/s, %.1f GB/s",
              ways.get(w).name(),
              nanos[w] / 1e3,
              operations / nanos[w],
              bytes / nanos[w]));
    }
    System.out.println(line);
  }

  private static float[] normal(long count) {
    Random random = new Random(count);
    float[] values = new float[Math.toIntExact(count)];
    for (int i = 0; i < values.length; i++) {
      values[i] = i < 4096 ? (float) random.nextGaussian() : values[i & 4095];
    }
    return values;
  }

  /** GB/s of summing a large segment on all processors, the best of some rounds. */
  private static double readRate() {
    int threads = Runtime.getRuntime().availableProcessors();
    long each = 256L << 20;
    try (Arena arena = Arena.ofShared()) {
      MemorySegment memory = arena.allocate(each * threads, 64);
      memory.fill((byte) 1);
      double best = 0;
      for (int round = 0; round < 12; round++) {
        long start = System.nanoTime();
        IntStream.range(0, threads)
            .parallel()
            .forEach(thread -> sum(memory.asSlice(thread * each, each)));
        best = Math.max(best, (double) each * threads / (System.nanoTime() - start));
      }
      return best;
    }
  }

  private static void sum(MemorySegment part) {
    float a = 0;
    for (long i = 0; i < part.byteSize() / 4; i += 16) {
      a += part.getAtIndex(JAVA_FLOAT, i); // one element of each cache line
    }
    if (a == 1) {
      System.out.println(a);
    }
  }
}
