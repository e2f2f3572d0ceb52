package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.GatedWeight;
import dev.baton.device.LinearWeight;
import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import dev.baton.device.cpu.WeightOrder.Weights;
import dev.baton.device.host.HostRouting;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.LongFunction;

/**
 * The products of a mixture of experts on one rank: each expert that was chosen multiplies the
 * slots of its rows by its own weight. All inputs are staged in one job of the team, all products
 * of all experts are one more: a table of calls, one for each chosen expert, of the very kernels
 * that multiply alone, so bits are the same. One token reads its chosen experts' weights and no
 * others. Arguments have been checked. Belongs to the rank's thread; allocates nothing but what
 * grows with the largest step.
 */
final class RoutedProducts {

  /** Parameters of the kernels. */
  private static final int LINEAR_WORDS = 8;

  private static final int TILES_WORDS = 6;
  private static final int STAGE_WORDS = 8;
  private static final int QUANTIZE_WORDS = 9;
  private static final int MOST_WORDS = 9;

  /** Pairs of groups of outputs that one piece of work has: fewer bytes for one row, more reuse. */
  private static final int PAIRS_OF_FEW_ROWS = 1;

  private static final int PAIRS_OF_MANY_ROWS = 4;
  private static final int MANY_ROWS = 32;

  /** Roughly what one thread does in a nanosecond, see {@link CpuProducts}. */
  private static final long BYTES = 12;

  private static final long STAGED_ELEMENTS = 2;

  private static final int ALIGNMENT = 64;

  private final CpuKernels kernels;
  private final CpuTeam team;
  private final WeightOrder order;
  private final LongFunction<MemorySegment> allocate;
  private final MemorySegment linear;
  private final MemorySegment linearTiles;
  private final MemorySegment linearInt8;
  private final MemorySegment linearInt4;
  private final MemorySegment stageInputs;
  private final MemorySegment quantizeInputs;

  /** Descriptions of products, then calls; grows with the experts. */
  private MemorySegment words = MemorySegment.NULL;

  private MemorySegment staged = MemorySegment.NULL;

  RoutedProducts(
      CpuKernels kernels, CpuTeam team, WeightOrder order, LongFunction<MemorySegment> allocate) {
    this.kernels = kernels;
    this.team = team;
    this.order = order;
    this.allocate = allocate;
    linear = kernels.each("linear", LINEAR_WORDS);
    linearTiles = kernels.each("linear_tiles", TILES_WORDS);
    linearInt8 = kernels.each("linear_int8", TILES_WORDS);
    linearInt4 = kernels.each("linear_int4", TILES_WORDS);
    stageInputs = kernels.each("stage_inputs", STAGE_WORDS);
    quantizeInputs = kernels.each("quantize_inputs", QUANTIZE_WORDS);
  }

  private static final Weights ALONE = expert -> (CpuLinearWeight) expert;
  private static final Weights GATED = expert -> ((CpuGatedWeight) expert).both();

  void linear(Tensor out, Tensor x, List<LinearWeight> experts, HostRouting routing) {
    team.foresee(order.stages(experts, ALONE, routing));
    CpuLinearWeight any = ALONE.of(experts.get(0));
    long inputs = stage(x, any, routing);
    multiply(
        out.address(),
        out.columns(),
        any.outputs(),
        CpuProducts.STORED,
        x,
        inputs,
        experts,
        ALONE,
        routing);
  }

  void gated(Tensor out, Tensor x, List<GatedWeight> experts, HostRouting routing) {
    team.foresee(order.stages(experts, GATED, routing));
    CpuLinearWeight any = GATED.of(experts.get(0));
    long inputs = stage(x, any, routing);
    multiply(
        out.address(),
        out.columns(),
        experts.get(0).outputs(),
        CpuProducts.GATED,
        x,
        inputs,
        experts,
        GATED,
        routing);
  }

  /** Bytes of an expert's staged inputs, a whole number of cache lines. */
  private static long stagedBytes(CpuLinearWeight any, int rows) {
    return (any.stagedBytes(rows) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  /**
   * Puts every chosen expert's inputs, one expert behind the other, into the form that products of
   * the format take; float32 is taken as it is. Returns where they begin.
   */
  private long stage(Tensor x, CpuLinearWeight any, HostRouting routing) {
    if (any.format() == WeightFormat.FLOAT32) {
      return x.address();
    }
    boolean quantizes = CpuLinearWeight.quantized(any.format());
    reserveWords(routing.experts());
    long bytes = 0;
    for (int expert = 0; expert < routing.experts(); expert++) {
      bytes += stagedBytes(any, routing.begin(expert + 1) - routing.begin(expert));
    }
    staged = reserve(staged, bytes);
    long to = staged.address();
    int count = 0;
    long at = 0;
    for (int expert = 0; expert < routing.experts(); expert++) {
      int begin = routing.begin(expert);
      int rows = routing.begin(expert + 1) - begin;
      if (rows == 0) {
        continue;
      }
      at = put(at, to);
      at = put(at, x.address() + begin * x.columns() * Float.BYTES);
      at = put(at, x.columns());
      at = put(at, 0); // no norm
      at = put(at, 0);
      at = put(at, any.borders().address());
      at = put(at, any.ranges());
      if (quantizes) {
        at = put(at, any.format() == WeightFormat.INT4 ? 1 : 0);
      }
      at = put(at, rows);
      to += stagedBytes(any, rows);
      count++;
    }
    int slots = routing.begin(routing.experts());
    int pieces = Math.max(1, CpuLinearWeight.groups(slots) / Math.max(1, count));
    kernels.each(
        quantizes ? quantizeInputs : stageInputs,
        team.address(),
        team.parts((long) count * pieces, (long) slots * any.inputs() / STAGED_ELEMENTS),
        words.address(),
        count,
        pieces);
    return staged.address();
  }

  /**
   * @param outStride elements of a row of {@code out}
   * @param outputs columns of {@code out} that are written
   * @param inputs what {@link #stage} has returned
   */
  private void multiply(
      long out,
      long outStride,
      int outputs,
      long kind,
      Tensor x,
      long inputs,
      List<?> experts,
      Weights weights,
      HostRouting routing) {
    reserveWords(routing.experts());
    long product = 0;
    long at = (long) routing.experts() * CpuProducts.WORDS;
    long calls = words.address() + at * Long.BYTES;
    int count = 0;
    int most = 0;
    long from = inputs;
    long bytes = 0;
    CpuLinearWeight any = weights.of(experts.get(0));
    for (int expert = 0; expert < routing.experts(); expert++) {
      int begin = routing.begin(expert);
      int rows = routing.begin(expert + 1) - begin;
      if (rows == 0) {
        continue;
      }
      CpuLinearWeight weight = weights.of(experts.get(expert));
      long packed = CpuOps.open(weight.packed()).address();
      long to = out + begin * outStride * Float.BYTES;
      long described = words.address() + product * Long.BYTES;
      product = put(product, to);
      product = put(product, outStride);
      product = put(product, packed);
      product = put(product, 0); // no biases
      product = put(product, 0);
      product = put(product, outputs);
      product = put(product, kind);
      long borders = weight.borders().address();
      switch (any.format()) {
        case FLOAT32 -> {
          at = put(at, described);
          at = put(at, 1);
          at = put(at, from + begin * x.columns() * Float.BYTES);
          at = put(at, x.columns());
          at = put(at, rows);
          at = put(at, weight.inputs());
          at = put(at, borders);
          at = put(at, weight.ranges());
        }
        case BFLOAT16, INT8, INT4 -> {
          at = put(at, described);
          at = put(at, 1);
          at = put(at, from);
          at = put(at, rows);
          at = put(at, borders);
          at = put(at, weight.ranges());
        }
      }
      if (any.format() != WeightFormat.FLOAT32) {
        from += stagedBytes(any, rows);
      }
      most = Math.max(most, rows);
      bytes += weight.packed().byteSize();
      count++;
    }
    int pairs = (CpuLinearWeight.groups(any.outputs()) + 1) / 2;
    int together = most > MANY_ROWS ? PAIRS_OF_MANY_ROWS : PAIRS_OF_FEW_ROWS;
    int pieces = Math.ceilDiv(pairs, together);
    long multiplications = (long) routing.begin(routing.experts()) * any.outputs() * any.inputs();
    team.foresee(order.begins(routing));
    kernels.each(
        kernel(any.format()),
        team.address(),
        team.parts(
            (long) count * pieces,
            Math.max(bytes / BYTES, multiplications / kernels.productsPerNano(any.format()))),
        calls,
        count,
        pieces);
  }

  private MemorySegment kernel(WeightFormat format) {
    return switch (format) {
      case FLOAT32 -> linear;
      case BFLOAT16 -> linearTiles;
      case INT8 -> linearInt8;
      case INT4 -> linearInt4;
    };
  }

  private long put(long index, long value) {
    words.setAtIndex(JAVA_LONG, index, value);
    return index + 1;
  }

  private void reserveWords(int experts) {
    words = reserve(words, (long) experts * (CpuProducts.WORDS + MOST_WORDS) * Long.BYTES);
  }

  private MemorySegment reserve(MemorySegment had, long bytes) {
    // What it had stays with the device, so at most as much again is lost.
    return had.byteSize() >= bytes ? had : allocate.apply(Math.max(bytes, 2 * had.byteSize()));
  }
}
