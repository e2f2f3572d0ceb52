package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.GatedWeight;
import dev.baton.device.KvShape;
import dev.baton.device.LinearWeight;
import dev.baton.device.Norm;
import dev.baton.device.Projection;
import dev.baton.device.Tensor;
import dev.baton.device.host.HostOps;
import dev.baton.device.host.HostRouting;
import dev.baton.device.host.HostStepBatch;
import dev.baton.device.host.RankGroup;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/** Hands checked arguments to the kernels. */
final class CpuOps extends HostOps<CpuLinearWeight, CpuGatedWeight, CpuKvCache> {

  /**
   * Roughly what one thread does in a nanosecond, to tell which operations are worth sharing:
   * multiplications of attention, elements rotated and stored, elements of rows, elements of gates.
   */
  private static final long ATTENTION_PRODUCTS = 20;

  private static final long ROTATED = 1;

  private static final long ELEMENTS = 4;
  private static final long GATES = 2;

  private final CpuKernels kernels;
  private final CpuTeam team;

  /** Addresses, then strides, of all ranks' parts; int64 {@code [2, ranks]}. */
  private final MemorySegment parts;

  private final CpuProducts products;
  private final RoutedProducts routed;

  /**
   * Addresses of packed weights and their scales, and the first row after each; int64 [ranks, 3].
   */
  private final MemorySegment shards;

  CpuOps(
      CpuKernels kernels,
      CpuTeam team,
      RankGroup group,
      int rank,
      MemorySegment parts,
      LongFunction<MemorySegment> allocate) {
    super(group, rank, CpuLinearWeight.class, CpuGatedWeight.class, CpuKvCache.class);
    this.kernels = kernels;
    this.team = team;
    this.parts = parts;
    shards = allocate.apply(3L * Long.BYTES * MAX_SHARDS);
    WeightOrder order = new WeightOrder(allocate);
    products = new CpuProducts(kernels, team, order, allocate);
    routed = new RoutedProducts(kernels, team, order, allocate);
  }

  @Override
  protected void gatherRows(Tensor out, Tensor table, MemorySegment indices, int rows, int width) {
    kernels.gatherRows(
        team.address(),
        team.parts(rows, (long) rows * width / ELEMENTS),
        out.address(),
        out.columns(),
        table.address(),
        CpuDevice.code(table.dtype()),
        table.columns(),
        indices.address(),
        rows,
        width);
  }

  @Override
  protected void gatherShards(
      Tensor out, List<CpuLinearWeight> weights, MemorySegment indices, int rows) {
    long first = 0;
    for (int i = 0; i < weights.size(); i++) {
      CpuLinearWeight weight = weights.get(i);
      if (weight.ranges() != 1) {
        throw new IllegalArgumentException(
            "table: %d ranges of inputs (expected: a column-parallel weight)"
                .formatted(weight.ranges()));
      }
      shards.setAtIndex(JAVA_LONG, 3L * i, open(weight.packed()).address());
      shards.setAtIndex(JAVA_LONG, 3L * i + 1, weight.scalesAddress());
      first += weight.outputs();
      shards.setAtIndex(JAVA_LONG, 3L * i + 2, first);
    }
    CpuLinearWeight any = weights.getFirst();
    kernels.gatherPacked(
        team.address(),
        team.parts(rows, (long) rows * any.inputs()),
        out.address(),
        out.columns(),
        shards.address(),
        CpuLinearWeight.code(any.format()),
        any.inputs(),
        indices.address(),
        rows);
  }

  @Override
  protected void rmsNormRows(
      Tensor out, Tensor x, Tensor weight, float epsilon, int rows, int width) {
    kernels.rmsNorm(
        team.address(),
        team.parts(rows, (long) rows * width / ELEMENTS),
        out.address(),
        out.columns(),
        x.address(),
        x.columns(),
        weight.address(),
        (int) weight.columns(),
        epsilon,
        rows,
        width);
  }

  @Override
  protected void linearRows(
      Tensor out, Tensor x, CpuLinearWeight weight, @Nullable Tensor bias, int rows) {
    products.linear(out, x, weight, bias, rows);
  }

  @Override
  protected void linearRows(List<Projection> all, Tensor x, @Nullable Norm norm, int rows) {
    products.linear(all, x, norm, rows);
  }

  @Override
  protected void addLinearRows(
      Tensor stream,
      Tensor x,
      CpuLinearWeight weight,
      @Nullable Tensor bias,
      Tensor scratch,
      int rows) {
    products.add(stream, x, weight, bias, rows);
  }

  @Override
  protected void gatedRows(
      Tensor out,
      Tensor x,
      @Nullable Norm norm,
      CpuGatedWeight weight,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      int rows) {
    products.gated(out, x, norm, weight, gateBias, upBias, rows);
  }

  @Override
  protected boolean gatedLinearRows(
      Tensor out,
      boolean added,
      Tensor x,
      @Nullable Norm norm,
      CpuGatedWeight weight,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      CpuLinearWeight down,
      @Nullable Tensor bias,
      int rows) {
    if (!CpuProducts.follows(weight, down)) {
      return false;
    }
    products.gatedLinear(out, added, x, norm, weight, gateBias, upBias, down, bias, rows);
    return true;
  }

  @Override
  protected void ropeStoreTokens(
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor cos,
      Tensor sin,
      CpuKvCache cache,
      int layer,
      HostStepBatch batch,
      int heads) {
    KvShape shape = cache.shape();
    open(cache.memory());
    kernels.ropeStore(
        team.address(),
        team.parts(
            batch.tokens(),
            (long) batch.tokens() * (heads + 2L * shape.kvHeads()) * shape.headDim() / ROTATED),
        q.address(),
        q.columns(),
        k.address(),
        k.columns(),
        v.address(),
        v.columns(),
        cos.address(),
        cos.columns(),
        sin.address(),
        sin.columns(),
        cache.layerAddress(layer),
        CpuDevice.code(shape.dtype()),
        shape.blockTokens(),
        shape.kvHeads(),
        shape.headDim(),
        heads,
        batch.positions().address(),
        batch.sequenceOf().address(),
        batch.tables().address(),
        batch.maxBlocks(),
        batch.tokens());
  }

  @Override
  protected void attentionTokens(
      Tensor out,
      Tensor q,
      CpuKvCache cache,
      int layer,
      HostStepBatch batch,
      int heads,
      float scale,
      int window) {
    KvShape shape = cache.shape();
    open(cache.memory());
    long products = 2L * batch.tokens() * (batch.largestPosition() + 1) * heads * shape.headDim();
    kernels.attention(
        team.address(),
        team.parts((long) batch.tokens() * shape.kvHeads(), products / ATTENTION_PRODUCTS),
        out.address(),
        out.columns(),
        q.address(),
        q.columns(),
        cache.layerAddress(layer),
        CpuDevice.code(shape.dtype()),
        shape.blockTokens(),
        shape.kvHeads(),
        shape.headDim(),
        heads,
        batch.positions().address(),
        batch.sequenceOf().address(),
        batch.tables().address(),
        batch.maxBlocks(),
        batch.tokens(),
        scale,
        window);
  }

  @Override
  protected void addRows(Tensor x, Tensor y, int rows, int width) {
    kernels.add(
        team.address(),
        team.parts(rows, (long) rows * width / ELEMENTS),
        x.address(),
        x.columns(),
        y.address(),
        y.rows() == 1 ? 0 : y.columns(),
        rows,
        width);
  }

  @Override
  protected void siluMultiplyRows(Tensor out, Tensor gate, Tensor up, int rows, int width) {
    kernels.siluMultiply(
        team.address(),
        team.parts(rows, (long) rows * width / GATES),
        out.address(),
        out.columns(),
        gate.address(),
        gate.columns(),
        up.address(),
        up.columns(),
        rows,
        width);
  }

  @Override
  protected void linearSlots(
      Tensor out, Tensor x, List<LinearWeight> experts, HostRouting routing) {
    routed.linear(out, x, experts, routing);
  }

  @Override
  protected void gatedSlots(Tensor out, Tensor x, List<GatedWeight> experts, HostRouting routing) {
    routed.gated(out, x, experts, routing);
  }

  @Override
  protected void combineRows(Tensor out, Tensor x, HostRouting routing, int width) {
    kernels.combineRows(
        team.address(),
        team.parts(routing.rows(), (long) routing.rows() * routing.chosen() * width / ELEMENTS),
        out.address(),
        out.columns(),
        x.address(),
        x.columns(),
        open(routing.slots()).address(),
        routing.weights().address(),
        routing.chosen(),
        routing.rows(),
        width);
  }

  @Override
  protected void sumRanks(Tensor[] tensors, int rows, int from, int to) {
    for (int r = 0; r < tensors.length; r++) {
      parts.setAtIndex(JAVA_LONG, r, tensors[r].address());
      parts.setAtIndex(JAVA_LONG, tensors.length + r, tensors[r].columns());
    }
    kernels.sumRanks(
        team.address(),
        team.parts(rows, (long) rows * (to - from) * tensors.length / ELEMENTS),
        parts.address(),
        parts.address() + 8L * tensors.length,
        tensors.length,
        rows,
        from,
        to);
  }

  /** Weights and caches of a closed device must not reach a kernel. */
  static MemorySegment open(MemorySegment memory) {
    if (!memory.scope().isAlive()) {
      throw new IllegalStateException("memory: of a closed device (expected: of an open device)");
    }
    return memory;
  }
}
