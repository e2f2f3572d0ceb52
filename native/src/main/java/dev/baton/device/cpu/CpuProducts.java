package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.Norm;
import dev.baton.device.Projection;
import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/**
 * The products of one rank: stages inputs once for all products of a call, describes the products
 * to the kernels and gives them to the team in one go. Arguments have been checked. Belongs to the
 * rank's thread; allocates nothing but what grows with the largest product.
 */
final class CpuProducts {

  /** What becomes of a sum; the numbers are those of {@code products.h}. */
  static final long STORED = 0;

  private static final long ADDED = 1;
  static final long GATED = 2;
  private static final long STAGED = 3;

  /** Most products of one call, and the int64 that describe one. */
  private static final int MOST = 8;

  static final int WORDS = 7;

  /**
   * Roughly what one thread does in a nanosecond, to tell which products are worth sharing: bytes
   * from memory, elements staged.
   */
  private static final long BYTES = 12;

  private static final long STAGED_ELEMENTS = 2;
  private static final long GATES = 2;

  private final CpuKernels kernels;
  private final CpuTeam team;

  /** More memory from the device. */
  private final LongFunction<MemorySegment> allocate;

  private final MemorySegment descriptions;

  /** Inputs as the products take them; grows with the largest. */
  private MemorySegment staged = MemorySegment.NULL;

  /** What a product leaves for the one that follows; likewise. */
  private MemorySegment between = MemorySegment.NULL;

  private final WeightOrder order;

  /** What the product after this one will read, see {@link WeightOrder}. */
  private long next;

  private final CpuLinearWeight[] weights = new CpuLinearWeight[MOST];
  private int count;
  private long pairs;
  private long bytes;
  private long elements;

  CpuProducts(
      CpuKernels kernels, CpuTeam team, WeightOrder order, LongFunction<MemorySegment> allocate) {
    this.kernels = kernels;
    this.team = team;
    this.allocate = allocate;
    descriptions = allocate.apply((long) MOST * WORDS * Long.BYTES);
    this.order = order;
  }

  void linear(Tensor out, Tensor x, CpuLinearWeight weight, @Nullable Tensor bias, int rows) {
    begin();
    describe(out, weight, bias, null, weight.outputs(), STORED);
    multiply(weight, x, null, rows);
  }

  /** {@code stream += product (+ bias)}. */
  void add(Tensor stream, Tensor x, CpuLinearWeight weight, @Nullable Tensor bias, int rows) {
    begin();
    describe(stream, weight, bias, null, weight.outputs(), ADDED);
    multiply(weight, x, null, rows);
  }

  void gated(
      Tensor out,
      Tensor x,
      @Nullable Norm norm,
      CpuGatedWeight weight,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      int rows) {
    begin();
    describe(out, weight.both(), gateBias, upBias, weight.outputs(), GATED);
    multiply(weight.both(), x, norm, rows);
  }

  /**
   * Whether what {@code gate} lets through can be written as {@code down} takes it: both in
   * bfloat16, and all ranges of {@code down} whole tiles.
   */
  static boolean follows(CpuGatedWeight gate, CpuLinearWeight down) {
    return gate.both().format() == WeightFormat.BFLOAT16
        && down.format() == WeightFormat.BFLOAT16
        && down.inputs() == down.tiles() * CpuLinearWeight.WIDE_TILE
        && down.tiles() % down.ranges() == 0;
  }

  /**
   * The product of {@code down} and what {@code gate} lets through, which is rounded and staged as
   * soon as it is there: half as much is written, and nothing read again to be staged. The rows'
   * ranges are of one length, because they are of whole tiles ({@link #follows}).
   *
   * @param added to what {@code out} holds
   */
  void gatedLinear(
      Tensor out,
      boolean added,
      Tensor x,
      @Nullable Norm norm,
      CpuGatedWeight gate,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      CpuLinearWeight down,
      @Nullable Tensor bias,
      int rows) {
    between = grown(between, down.stagedBytes(rows));
    begin();
    describe(
        between.address(),
        down.tiles() / down.ranges(),
        gate.both(),
        gateBias,
        upBias,
        gate.outputs(),
        STAGED);
    multiply(gate.both(), x, norm, rows);
    begin();
    describe(out, down, bias, null, down.outputs(), added ? ADDED : STORED);
    next = order.begins(weights, count, rows);
    multiplyTiles(down, between, rows);
  }

  void linear(List<Projection> products, Tensor x, @Nullable Norm norm, int rows) {
    CpuLinearWeight first = (CpuLinearWeight) products.get(0).weight();
    for (int from = 0; from < products.size(); from += MOST) {
      begin();
      for (int i = from; i < Math.min(products.size(), from + MOST); i++) {
        Projection each = products.get(i);
        CpuLinearWeight weight = (CpuLinearWeight) each.weight();
        if (weight.borders().mismatch(first.borders()) != -1) {
          throw new IllegalArgumentException(
              "weight: of %d ranges of inputs (expected: the first product's %d, with its borders)"
                  .formatted(weight.ranges(), first.ranges()));
        }
        describe(each.out(), weight, each.bias(), null, weight.outputs(), STORED);
      }
      multiply(first, x, norm, rows);
    }
  }

  private void begin() {
    count = 0;
    pairs = 0;
    bytes = 0;
    elements = 0;
  }

  private void describe(
      Tensor out,
      CpuLinearWeight weight,
      @Nullable Tensor bias,
      @Nullable Tensor upBias,
      int outputs,
      long kind) {
    describe(out.address(), out.columns(), weight, bias, upBias, outputs, kind);
  }

  private void describe(
      long out,
      long stride,
      CpuLinearWeight weight,
      @Nullable Tensor bias,
      @Nullable Tensor upBias,
      int outputs,
      long kind) {
    long at = (long) count * WORDS;
    descriptions.setAtIndex(JAVA_LONG, at, out);
    descriptions.setAtIndex(JAVA_LONG, at + 1, stride);
    descriptions.setAtIndex(JAVA_LONG, at + 2, CpuOps.open(weight.packed()).address());
    descriptions.setAtIndex(JAVA_LONG, at + 3, bias == null ? 0 : bias.address());
    descriptions.setAtIndex(JAVA_LONG, at + 4, upBias == null ? 0 : upBias.address());
    descriptions.setAtIndex(JAVA_LONG, at + 5, outputs);
    descriptions.setAtIndex(JAVA_LONG, at + 6, kind);
    weights[count] = weight;
    count++;
    pairs += (CpuLinearWeight.groups(weight.outputs()) + 1) / 2;
    bytes += weight.bytes();
    elements += (long) weight.outputs() * weight.inputs();
  }

  /**
   * Multiplies {@code x} by all weights described.
   *
   * @param weight one of them, for its inputs
   */
  private void multiply(CpuLinearWeight weight, Tensor x, @Nullable Norm norm, int rows) {
    next = order.begins(weights, count, rows);
    switch (weight.format()) {
      case FLOAT32 -> inOrder(weight, x, norm, rows);
      case BFLOAT16 -> inTiles(weight, x, norm, rows);
      case INT8, INT4 -> inBytes(weight, x, norm, rows);
    }
  }

  private void inOrder(CpuLinearWeight weight, Tensor x, @Nullable Norm norm, int rows) {
    long address = x.address();
    long stride = x.columns();
    if (norm != null) {
      stride = weight.inputs();
      address = normed(x, norm, rows, weight.inputs());
    }
    team.foresee(next);
    kernels.linear(
        team.address(),
        team.parts(pairs, nanos(elements * rows / kernels.productsPerNano(weight.format()))),
        descriptions.address(),
        count,
        address,
        stride,
        rows,
        weight.inputs(),
        weight.borders().address(),
        weight.ranges());
  }

  private void inTiles(CpuLinearWeight weight, Tensor x, @Nullable Norm norm, int rows) {
    reserve(weight.stagedBytes(rows));
    kernels.stageInputs(
        team.address(),
        team.parts(CpuLinearWeight.groups(rows), (long) rows * weight.inputs() / STAGED_ELEMENTS),
        staged.address(),
        x.address(),
        x.columns(),
        norm == null ? 0 : norm.weight().address(),
        norm == null ? 0 : norm.epsilon(),
        weight.borders().address(),
        weight.ranges(),
        rows);
    multiplyTiles(weight, staged, rows);
  }

  private void multiplyTiles(CpuLinearWeight weight, MemorySegment inputs, int rows) {
    team.foresee(next);
    kernels.linearTiles(
        team.address(),
        team.parts(pairs, nanos(elements * rows / kernels.productsPerNano(weight.format()))),
        descriptions.address(),
        count,
        inputs.address(),
        rows,
        weight.borders().address(),
        weight.ranges());
  }

  private void inBytes(CpuLinearWeight weight, Tensor x, @Nullable Norm norm, int rows) {
    reserve(weight.stagedBytes(rows));
    kernels.quantizeInputs(
        team.address(),
        team.parts(rows, (long) rows * weight.inputs() / STAGED_ELEMENTS),
        staged.address(),
        x.address(),
        x.columns(),
        norm == null ? 0 : norm.weight().address(),
        norm == null ? 0 : norm.epsilon(),
        weight.borders().address(),
        weight.ranges(),
        weight.format() == WeightFormat.INT4 ? 1 : 0,
        rows);
    int parts =
        team.parts(pairs, nanos(elements * rows / kernels.productsPerNano(weight.format())));
    team.foresee(next);
    if (weight.format() == WeightFormat.INT8) {
      kernels.linearInt8(
          team.address(),
          parts,
          descriptions.address(),
          count,
          staged.address(),
          rows,
          weight.borders().address(),
          weight.ranges());
    } else {
      kernels.linearInt4(
          team.address(),
          parts,
          descriptions.address(),
          count,
          staged.address(),
          rows,
          weight.borders().address(),
          weight.ranges());
    }
  }

  /** Puts the norm of the rows of {@code x} where inputs are staged. */
  private long normed(Tensor x, Norm norm, int rows, int width) {
    reserve((long) rows * width * Float.BYTES);
    kernels.rmsNorm(
        team.address(),
        team.parts(rows, (long) rows * width / STAGED_ELEMENTS),
        staged.address(),
        width,
        x.address(),
        x.columns(),
        norm.weight().address(),
        width,
        norm.epsilon(),
        rows,
        width);
    return staged.address();
  }

  private long nanos(long products) {
    return Math.max(bytes / BYTES, products);
  }

  private void reserve(long wanted) {
    staged = grown(staged, wanted);
  }

  private MemorySegment grown(MemorySegment memory, long wanted) {
    // What it had stays with the device, so at most as much again is lost.
    return memory.byteSize() >= wanted
        ? memory
        : allocate.apply(Math.max(wanted, 2 * memory.byteSize()));
  }
}
