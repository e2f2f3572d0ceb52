package dev.baton.bench;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.LinearWeight;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.RandomElements;
import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.device.cpu.CpuCeilings;
import dev.baton.device.cpu.CpuDevice;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;

/**
 * Measures the ceilings of this machine, on a device of its own and one thread per processor.
 *
 * <p><b>Memory</b>: every thread reads its own regions once, with the tier's widest loads in one,
 * two or four streams, or by comparing two of equal content ({@link MemorySegment#mismatch}, vector
 * loads of the JVM's making); the best counts. All regions together are far larger than the caches.
 *
 * <p><b>Products</b>: every thread multiplies operands that stay in registers ({@link
 * CpuCeilings}). Where there are no native kernels, every rank runs the device's linear operation
 * with weights and inputs that stay in the second-level cache, the best of several shapes.
 */
final class CeilingProbe implements Probe {

  /** Shapes tried: rows, outputs a thread, inputs; 512 KiB or less of bfloat16 weights. */
  private static final int[][] SHAPES = {{64, 256, 1024}, {128, 128, 1024}, {128, 512, 512}};

  private static final byte CONTENT = 7;
  private static final int[] STREAMS = {1, 2, 4};

  /** Some hundred microseconds of products. */
  private static final long ROUNDS = 1000;

  /** One shape of product, ready to run on every rank. */
  private record Product(int rows, LinearWeight weight, List<Tensor> in, List<Tensor> out) {

    double operations() {
      return 2.0 * rows * weight.outputs() * weight.inputs();
    }
  }

  private final Device device = CpuDevice.open();

  /** Null where there are no native kernels. */
  private final @Nullable CpuCeilings ceilings =
      device instanceof CpuDevice cpu ? cpu.ceilings() : null;

  private final Arena arena = Arena.ofShared();
  private final int threads;
  private final long probeNanos;
  private final List<Tensor> left = new ArrayList<>();
  private final List<Tensor> right = new ArrayList<>();

  /** Ranks, each on its even share of the processors. */
  private final List<Ops> ranks;

  private final Map<Arithmetic, List<Product>> products = new EnumMap<>(Arithmetic.class);

  /**
   * @param bytes read in one pass over memory, by all threads together
   * @param probeNanos time for each figure
   */
  CeilingProbe(int threads, long bytes, long probeNanos) {
    this.threads = threads;
    this.probeNanos = probeNanos;
    long rows = Math.max(1, bytes / threads / 2 / 4096);
    for (int i = 0; i < threads; i++) {
      left.add(device.allocate(DType.FLOAT32, rows, 1024));
      right.add(device.allocate(DType.FLOAT32, rows, 1024));
    }
    ranks = device.openRanks(evenRanks(threads));
    // By the thread that reads it later, as a rule: memory is near the processor that asks first.
    Team.run(
        threads,
        thread -> {
          left.get(thread).segment().fill(CONTENT);
          right.get(thread).segment().fill(CONTENT);
        });
  }

  /** The most ranks among which the threads are divided evenly. */
  private static int evenRanks(int threads) {
    return Math.min(8, Integer.lowestOneBit(threads));
  }

  /** The device's line for a report. */
  @Override
  public String description() {
    return device.description();
  }

  @Override
  public Ceilings measure(Set<Arithmetic> wanted) {
    Map<Arithmetic, Double> operations = new EnumMap<>(Arithmetic.class);
    wanted.forEach(each -> operations.put(each, productRate(each)));
    return new Ceilings(readRate(), operations);
  }

  /** The best of several ways to read: which one the memory likes most differs by machine. */
  private double readRate() {
    double best = 0;
    long end = System.nanoTime() + probeNanos;
    do {
      best = Math.max(best, readRate(this::mismatch));
      for (int streams : STREAMS) {
        best = Math.max(best, readRate(thread -> read(thread, streams)));
      }
    } while (System.nanoTime() < end);
    return best;
  }

  private double readRate(Team.Task reading) {
    double bytes = 2.0 * threads * left.getFirst().bytes();
    return bytes / Team.run(threads, reading) * 1e9;
  }

  private void mismatch(int thread) {
    if (left.get(thread).segment().mismatch(right.get(thread).segment()) != -1) {
      throw new IllegalStateException("memory: changed under the measurement");
    }
  }

  private void read(int thread, int streams) {
    CpuCeilings own = ceilings;
    if (own == null) {
      mismatch(thread);
      return;
    }
    own.read(left.get(thread).segment(), streams);
    own.read(right.get(thread).segment(), streams);
  }

  private double productRate(Arithmetic arithmetic) {
    CpuCeilings own = ceilings;
    return own == null ? linearRate(arithmetic) : peak(own, arithmetic);
  }

  /** On one thread per processor, for as long as a figure takes. */
  private double peak(CpuCeilings own, Arithmetic arithmetic) {
    long[] operations = new long[threads];
    long nanos =
        Team.run(
            threads,
            thread -> {
              long end = System.nanoTime() + probeNanos;
              do {
                operations[thread] += own.multiply(arithmetic.format(), ROUNDS);
              } while (System.nanoTime() < end);
            });
    return LongStream.of(operations).sum() * 1e9 / nanos;
  }

  private double linearRate(Arithmetic arithmetic) {
    double best = 0;
    for (Product product : products.computeIfAbsent(arithmetic, this::products)) {
      best = Math.max(best, rate(product));
    }
    return best;
  }

  private List<Product> products(Arithmetic arithmetic) {
    List<Product> made = new ArrayList<>();
    for (int[] shape : SHAPES) {
      made.add(product(arithmetic.format(), shape[0], shape[1], shape[2]));
    }
    return made;
  }

  private Product product(WeightFormat format, int rows, int outputsOfThread, int inputs) {
    int outputs = outputsOfThread * (threads / ranks.size());
    DType stored = DType.BFLOAT16;
    MemorySegment values = arena.allocate((long) outputs * inputs * stored.bytes(), Long.BYTES);
    new RandomElements(stored, inputs, 1).fill(values);
    List<Tensor> in = new ArrayList<>();
    List<Tensor> out = new ArrayList<>();
    for (int rank = 0; rank < ranks.size(); rank++) {
      Tensor x = device.allocate(DType.FLOAT32, rows, inputs);
      new RandomElements(DType.FLOAT32, 1, rank).fill(x.segment());
      in.add(x);
      out.add(device.allocate(DType.FLOAT32, rows, outputs));
    }
    WeightSlice slice = WeightSlice.whole(values, stored, outputs, inputs);
    return new Product(rows, device.packLinear(slice, format, Parallelism.COLUMN), in, out);
  }

  private double rate(Product product) {
    long slice = probeNanos / SHAPES.length;
    long[] calls = new long[ranks.size()];
    long nanos =
        Team.run(
            ranks.size(),
            rank -> {
              Ops ops = ranks.get(rank);
              Tensor out = product.out().get(rank);
              Tensor in = product.in().get(rank);
              long end = System.nanoTime() + slice;
              long done = 0;
              do {
                ops.linear(out, in, product.weight(), null, product.rows());
                done++;
              } while (System.nanoTime() < end);
              calls[rank] = done;
            });
    return product.operations() * LongStream.of(calls).sum() / nanos * 1e9;
  }

  @Override
  public void close() {
    arena.close();
    device.close();
  }
}
