package dev.baton.device.host;

import static dev.baton.device.DType.BFLOAT16;
import static dev.baton.device.DType.FLOAT32;

import dev.baton.device.GatedWeight;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import dev.baton.device.LinearWeight;
import dev.baton.device.Norm;
import dev.baton.device.Ops;
import dev.baton.device.Projection;
import dev.baton.device.Routing;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The ops of one rank of any device: checks every argument, so that no value can make a kernel
 * touch memory outside its tensors, then calls the kernel. Subclasses bring kernels and
 * collectives, and may trust what they are given. Long because it is one flat list, the checks of
 * each operation of {@link Ops} and the kernel that it comes to.
 *
 * @param <W> the device's own kind of packed weight
 * @param <G> the device's own kind of gate and weight packed together
 * @param <C> the device's own kind of KV cache
 * @param <B> the device's own kind of step batch
 * @param <R> the device's own kind of routing
 */
public abstract class CheckedOps<
        W extends LinearWeight,
        G extends GatedWeight,
        C extends KvCache,
        B extends HostStepBatch,
        R extends CheckedRouting>
    implements Ops {

  /** Bounds the kernels' buffers for one head. */
  public static final int MAX_HEAD_DIM = 512;

  /** Most ranks. */
  protected static final int MAX_SHARDS = LinearWeight.PARTIALS;

  /** Of the call in progress; a step makes no objects. */
  private final List<W> shards = new ArrayList<>();

  /**
   * Lists of experts that have been looked through: a hundred objects that the weights of a step
   * have driven out of the caches cost microseconds, each time.
   */
  private final Set<List<?>> alike = Collections.newSetFromMap(new IdentityHashMap<>());

  private final int rank;
  private final int ranks;
  private final Kinds<W, G, C, B, R> kinds;

  /** The classes of what a device hands out, so that nothing of another device gets through. */
  public record Kinds<W, G, C, B, R>(
      Class<W> weight, Class<G> gated, Class<C> cache, Class<B> batch, Class<R> routing) {}

  protected CheckedOps(int rank, int ranks, Kinds<W, G, C, B, R> kinds) {
    this.rank = rank;
    this.ranks = ranks;
    this.kinds = kinds;
  }

  /** {@code out[i] = table[batch.tokenId(i)]} in rows of {@code width} elements. */
  protected abstract void embedTokens(Tensor out, Tensor table, B batch, int width);

  /**
   * {@code out[i]} = row {@code batch.tokenId(i)} of the rows of all {@code shards} in order, which
   * are of one format and one range of inputs.
   */
  protected abstract void embedTokens(Tensor out, List<W> shards, B batch);

  /** {@code out[i]} = row {@code batch.logitIndex(i)} of x. */
  protected abstract void gatherTokens(Tensor out, Tensor x, B batch, int width);

  /** Chooses experts, sets the routing's rows. */
  protected abstract void routeRows(R routing, Tensor scores, int rows, boolean normalize);

  /** {@code out[slot]} = the row of {@code x} that the slot belongs to. */
  protected abstract void gatherSlots(Tensor out, Tensor x, R routing, int width);

  /** Sums over all ranks; there are several. */
  protected abstract void reduceRanks(Tensor x, int rows, int width);

  /** Brings this rank's columns to {@code out}, and returns when all ranks' are on their way. */
  protected abstract void gatherColumns(
      Tensor out, Tensor part, int rows, int columnFrom, int width);

  protected abstract void rmsNormRows(
      Tensor out, Tensor x, Tensor weight, float epsilon, int rows, int width);

  protected abstract void linearRows(
      Tensor out, Tensor x, W weight, @Nullable Tensor bias, int rows);

  /**
   * Several products of {@code x}, normed first if there is a norm; all weights are of this device,
   * one format and one number of inputs.
   */
  protected abstract void linearRows(
      List<Projection> products, Tensor x, @Nullable Norm norm, int rows);

  /** {@code stream += x * weight^T (+ bias)}, of this rank alone; may use {@code scratch}. */
  protected abstract void addLinearRows(
      Tensor stream, Tensor x, W weight, @Nullable Tensor bias, Tensor scratch, int rows);

  protected abstract void gatedRows(
      Tensor out,
      Tensor x,
      @Nullable Norm norm,
      G weight,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      int rows);

  /**
   * {@code out} = or, when {@code added}, += the product of {@code down} and what {@link
   * #gatedRows} would give, of this rank alone, in one go.
   *
   * @return false, and nothing done, where this device has no better way than one after the other
   */
  protected boolean gatedLinearRows(
      Tensor out,
      boolean added,
      Tensor x,
      @Nullable Norm norm,
      G weight,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      W down,
      @Nullable Tensor bias,
      int rows) {
    return false;
  }

  protected abstract void ropeStoreTokens(
      Tensor q, Tensor k, Tensor v, Tensor cos, Tensor sin, C cache, int layer, B batch, int heads);

  protected abstract void attentionTokens(
      Tensor out, Tensor q, C cache, int layer, B batch, int heads, float scale, int window);

  protected abstract void addRows(Tensor x, Tensor y, int rows, int width);

  protected abstract void siluMultiplyRows(Tensor out, Tensor gate, Tensor up, int rows, int width);

  /** Every slot by the weight of its expert; all weights are of this device and alike. */
  protected abstract void linearSlots(Tensor out, Tensor x, List<LinearWeight> experts, R routing);

  /** Likewise by gates and what they let through. */
  protected abstract void gatedSlots(Tensor out, Tensor x, List<GatedWeight> experts, R routing);

  /** {@code out[row] = sum of weights[row, j] * x[slots[row, j]]}, all bounds checked. */
  protected abstract void combineRows(Tensor out, Tensor x, R routing, int width);

  @Override
  public final int rank() {
    return rank;
  }

  @Override
  public final int ranks() {
    return ranks;
  }

  @Override
  public final void embed(Tensor out, Tensor table, StepBatch batch) {
    B tokens = sealed(batch);
    if (table.dtype() != FLOAT32 && table.dtype() != BFLOAT16) {
      throw new IllegalArgumentException(
          "table: %s (expected: FLOAT32 or BFLOAT16)".formatted(table.dtype()));
    }
    requireMemory("table", table);
    if (tokens.largestTokenId() >= table.rows()) {
      throw new IllegalArgumentException(
          "tokenId: %d (expected: < %d, the table's rows)"
              .formatted(tokens.largestTokenId(), table.rows()));
    }
    int width = Math.toIntExact(table.columns());
    require("out", out, tokens.tokens(), width);
    embedTokens(out, table, tokens, width);
  }

  @Override
  public final void embed(Tensor out, List<LinearWeight> table, StepBatch batch) {
    B tokens = sealed(batch);
    if (table.isEmpty() || table.size() > MAX_SHARDS) {
      throw new IllegalArgumentException(
          "table: %d shards (expected: 1 to %d)".formatted(table.size(), MAX_SHARDS));
    }
    shards.clear();
    long rows = 0;
    for (int i = 0; i < table.size(); i++) {
      LinearWeight each = table.get(i);
      shards.add(own("table", kinds.weight(), each));
      rows += each.outputs();
      if (each.inputs() != table.getFirst().inputs()
          || each.format() != table.getFirst().format()) {
        throw new IllegalArgumentException(
            "table: %s of %d inputs (expected: %s of %d, as the first shard)"
                .formatted(
                    each.format(),
                    each.inputs(),
                    table.getFirst().format(),
                    table.getFirst().inputs()));
      }
    }
    if (tokens.largestTokenId() >= rows) {
      throw new IllegalArgumentException(
          "tokenId: %d (expected: < %d, the table's rows)"
              .formatted(tokens.largestTokenId(), rows));
    }
    require("out", out, tokens.tokens(), table.getFirst().inputs());
    embedTokens(out, shards, tokens);
  }

  @Override
  public final void rmsNorm(
      Tensor out, Tensor x, Tensor weight, float epsilon, int rows, int width) {
    require("out", out, rows, width);
    require("x", x, rows, width);
    require("weight", weight, 1, 1);
    if (width % weight.columns() != 0) {
      throw new IllegalArgumentException(
          "width: %d (expected: a multiple of the group, %d)".formatted(width, weight.columns()));
    }
    if (out.address() != x.address() || out.columns() != x.columns()) {
      requireApart("out", out, "x", x);
    }
    rmsNormRows(out, x, weight, epsilon, rows, width);
  }

  @Override
  public final void linear(
      Tensor out, Tensor x, LinearWeight weight, @Nullable Tensor bias, int rows) {
    W packed = own("weight", kinds.weight(), weight);
    require("out", out, rows, packed.outputs());
    require("x", x, rows, packed.inputs());
    if (bias != null) {
      require("bias", bias, 1, packed.outputs());
    }
    requireApart("out", out, "x", x);
    linearRows(out, x, packed, bias, rows);
  }

  @Override
  public final void linear(List<Projection> products, Tensor x, @Nullable Norm norm, int rows) {
    if (products.isEmpty()) {
      throw new IllegalArgumentException("products: none (expected: at least one)");
    }
    W first = own("weight", kinds.weight(), products.get(0).weight());
    require("x", x, rows, first.inputs());
    requireNorm(norm, first.inputs());
    for (int i = 0; i < products.size(); i++) {
      Projection each = products.get(i);
      W packed = own("weight", kinds.weight(), each.weight());
      if (packed.inputs() != first.inputs() || packed.format() != first.format()) {
        throw new IllegalArgumentException(
            "weight: %s of %d inputs (expected: %s of %d, as the first product's)"
                .formatted(packed.format(), packed.inputs(), first.format(), first.inputs()));
      }
      require("out", each.out(), rows, packed.outputs());
      requireBias("bias", each.bias(), packed.outputs());
      requireApart("out", each.out(), "x", x);
    }
    linearRows(products, x, norm, rows);
  }

  @Override
  public final void addLinear(
      Tensor stream,
      Tensor x,
      LinearWeight weight,
      @Nullable Tensor bias,
      Tensor scratch,
      int rows) {
    W packed = own("weight", kinds.weight(), weight);
    require("stream", stream, rows, packed.outputs());
    require("scratch", scratch, rows, packed.outputs());
    require("x", x, rows, packed.inputs());
    requireApart("stream", stream, "x", x);
    requireApart("scratch", scratch, "x", x);
    requireApart("scratch", scratch, "stream", stream);
    requireBias("bias", bias, packed.outputs());
    if (ranks == 1) {
      addLinearRows(stream, x, packed, bias, scratch, rows);
    } else {
      linearRows(scratch, x, packed, null, rows);
      addReducedRows(stream, scratch, bias, rows, packed.outputs());
    }
  }

  /** {@code stream += sum of parts over all ranks (+ bias)}; there are several. */
  protected void addReducedRows(
      Tensor stream, Tensor parts, @Nullable Tensor bias, int rows, int width) {
    reduceRanks(parts, rows, width);
    if (bias != null) {
      addRows(parts, bias, rows, width);
    }
    addRows(stream, parts, rows, width);
  }

  @Override
  public final void feedForward(
      Tensor stream,
      Tensor x,
      @Nullable Norm norm,
      GatedWeight weight,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      Tensor inner,
      LinearWeight down,
      @Nullable Tensor bias,
      Tensor scratch,
      int rows) {
    G gate = own("weight", kinds.gated(), weight);
    W packed = own("down", kinds.weight(), down);
    require("stream", stream, rows, packed.outputs());
    require("x", x, rows, gate.inputs());
    requireNorm(norm, gate.inputs());
    requireBias("gateBias", gateBias, gate.outputs());
    requireBias("upBias", upBias, gate.outputs());
    requireBias("bias", bias, packed.outputs());
    require("scratch", scratch, rows, packed.outputs());
    requireApart("scratch", scratch, "x", x);
    requireApart("scratch", scratch, "stream", stream);
    if (gate.outputs() != packed.inputs()) {
      throw new IllegalArgumentException(
          "down: of %d inputs (expected: %d, what the gate lets through)"
              .formatted(packed.inputs(), gate.outputs()));
    }
    boolean alone = ranks == 1;
    if (!gatedLinearRows(
        alone ? stream : scratch,
        alone,
        x,
        norm,
        gate,
        gateBias,
        upBias,
        packed,
        alone ? bias : null,
        rows)) {
      gated(inner, x, norm, weight, gateBias, upBias, rows);
      addLinear(stream, inner, down, bias, scratch, rows);
    } else if (!alone) {
      addReducedRows(stream, scratch, bias, rows, packed.outputs());
    }
  }

  @Override
  public final void gated(
      Tensor out,
      Tensor x,
      @Nullable Norm norm,
      GatedWeight weight,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      int rows) {
    G packed = own("weight", kinds.gated(), weight);
    require("out", out, rows, packed.outputs());
    require("x", x, rows, packed.inputs());
    requireNorm(norm, packed.inputs());
    requireApart("out", out, "x", x);
    requireBias("gateBias", gateBias, packed.outputs());
    requireBias("upBias", upBias, packed.outputs());
    gatedRows(out, x, norm, packed, gateBias, upBias, rows);
  }

  private static void requireBias(String name, @Nullable Tensor bias, int outputs) {
    if (bias != null) {
      require(name, bias, 1, outputs);
    }
  }

  private static void requireNorm(@Nullable Norm norm, int inputs) {
    if (norm == null) {
      return;
    }
    require("norm", norm.weight(), 1, inputs);
    if (norm.weight().columns() != inputs) {
      throw new IllegalArgumentException(
          "norm: %d columns (expected: %d, the weight's inputs)"
              .formatted(norm.weight().columns(), inputs));
    }
  }

  @Override
  public final void ropeStore(
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor cos,
      Tensor sin,
      KvCache cache,
      int layer,
      StepBatch batch) {
    B tokens = sealed(batch);
    C own = own("cache", kinds.cache(), cache);
    KvShape shape = requireCache(own, layer, tokens);
    int heads = requireHeads(q, shape);
    int kvWidth = shape.kvHeads() * shape.headDim();
    require("q", q, tokens.tokens(), heads * shape.headDim());
    require("k", k, tokens.tokens(), kvWidth);
    require("v", v, tokens.tokens(), kvWidth);
    if (shape.headDim() % 2 != 0) {
      throw new IllegalArgumentException(
          "headDim: %d (expected: even, to rotate pairs)".formatted(shape.headDim()));
    }
    require("cos", cos, tokens.largestPosition() + 1, shape.headDim() / 2);
    require("sin", sin, tokens.largestPosition() + 1, shape.headDim() / 2);
    ropeStoreTokens(q, k, v, cos, sin, own, layer, tokens, heads);
  }

  @Override
  public final void attention(
      Tensor out, Tensor q, KvCache cache, int layer, StepBatch batch, float scale, int window) {
    B tokens = sealed(batch);
    C own = own("cache", kinds.cache(), cache);
    KvShape shape = requireCache(own, layer, tokens);
    int heads = requireHeads(q, shape);
    require("q", q, tokens.tokens(), heads * shape.headDim());
    require("out", out, tokens.tokens(), heads * shape.headDim());
    requireApart("out", out, "q", q);
    if (!(scale > 0)) {
      throw new IllegalArgumentException("scale: %s (expected: > 0)".formatted(scale));
    }
    if (window < 0) {
      throw new IllegalArgumentException("window: %d (expected: >= 0)".formatted(window));
    }
    attentionTokens(out, q, own, layer, tokens, heads, scale, window);
  }

  @Override
  public final void add(Tensor x, Tensor y, int rows, int width) {
    require("x", x, rows, width);
    require("y", y, y.rows() == 1 ? 1 : rows, width);
    addRows(x, y, rows, width);
  }

  @Override
  public final void siluMultiply(Tensor out, Tensor gate, Tensor up, int rows, int width) {
    require("out", out, rows, width);
    require("gate", gate, rows, width);
    require("up", up, rows, width);
    siluMultiplyRows(out, gate, up, rows, width);
  }

  @Override
  public final void route(Routing routing, Tensor scores, int rows, boolean normalize) {
    R own = own("routing", kinds.routing(), routing);
    if (rows < 0 || rows > own.maxRows()) {
      throw new IllegalArgumentException(
          "rows: %d (expected: 0 to %d, the routing's)".formatted(rows, own.maxRows()));
    }
    require("scores", scores, rows, own.experts());
    routeRows(own, scores, rows, normalize);
  }

  @Override
  public final void gatherRouted(Tensor out, Tensor x, Routing routing, int width) {
    R own = own("routing", kinds.routing(), routing);
    require("x", x, own.rows(), width);
    require("out", out, own.rows() * own.chosen(), width);
    requireApart("out", out, "x", x);
    gatherSlots(out, x, own, width);
  }

  @Override
  public final void linearRouted(
      Tensor out, Tensor x, List<LinearWeight> experts, Routing routing) {
    R own = own("routing", kinds.routing(), routing);
    requireExperts(experts.size(), own);
    W first = own("expert", kinds.weight(), experts.get(0));
    if (!alike.contains(experts)) {
      for (int expert = 1; expert < experts.size(); expert++) {
        W each = own("expert", kinds.weight(), experts.get(expert));
        requireAlike(
            each.outputs() == first.outputs()
                && each.inputs() == first.inputs()
                && each.format() == first.format(),
            expert);
      }
      alike.add(experts);
    }
    requireSlots(out, first.outputs(), x, first.inputs(), own);
    linearSlots(out, x, experts, own);
  }

  @Override
  public final void gatedRouted(Tensor out, Tensor x, List<GatedWeight> experts, Routing routing) {
    R own = own("routing", kinds.routing(), routing);
    requireExperts(experts.size(), own);
    G first = own("expert", kinds.gated(), experts.get(0));
    if (!alike.contains(experts)) {
      for (int expert = 1; expert < experts.size(); expert++) {
        G each = own("expert", kinds.gated(), experts.get(expert));
        requireAlike(
            each.outputs() == first.outputs()
                && each.inputs() == first.inputs()
                && each.format() == first.format(),
            expert);
      }
      alike.add(experts);
    }
    requireSlots(out, first.outputs(), x, first.inputs(), own);
    gatedSlots(out, x, experts, own);
  }

  private static void requireExperts(int count, CheckedRouting routing) {
    if (count != routing.experts()) {
      throw new IllegalArgumentException(
          "experts: %d weights (expected: %d, the routing's)".formatted(count, routing.experts()));
    }
  }

  private static void requireAlike(boolean alike, int expert) {
    if (!alike) {
      throw new IllegalArgumentException(
          "expert %d: another shape or format (expected: those of expert 0)".formatted(expert));
    }
  }

  private static void requireSlots(
      Tensor out, int outputs, Tensor x, int inputs, CheckedRouting routing) {
    int slots = routing.rows() * routing.chosen();
    require("out", out, slots, outputs);
    require("x", x, slots, inputs);
    requireApart("out", out, "x", x);
  }

  @Override
  public final void combineRouted(Tensor out, Tensor x, Routing routing, int width) {
    R own = own("routing", kinds.routing(), routing);
    require("x", x, own.rows() * own.chosen(), width);
    require("out", out, own.rows(), width);
    requireApart("out", out, "x", x);
    combineRows(out, x, own, width);
  }

  @Override
  public final void gatherLogitRows(Tensor out, Tensor x, StepBatch batch) {
    B tokens = sealed(batch);
    int width = Math.toIntExact(x.columns());
    require("x", x, tokens.tokens(), width);
    require("out", out, tokens.logitRows(), width);
    requireApart("out", out, "x", x);
    gatherTokens(out, x, tokens, width);
  }

  @Override
  public final void allReduce(Tensor x, int rows, int width) {
    require("x", x, rows, width);
    if (ranks > 1) {
      reduceRanks(x, rows, width);
    }
  }

  @Override
  public final void allGather(Tensor out, Tensor part, int rows, int columnFrom, int width) {
    require("part", part, rows, width);
    if (columnFrom < 0) {
      throw new IllegalArgumentException("columnFrom: %d (expected: >= 0)".formatted(columnFrom));
    }
    require("out", out, rows, Math.addExact(columnFrom, width));
    requireApart("out", out, "part", part);
    gatherColumns(out, part, rows, columnFrom, width);
  }

  /** The device's own kind of batch, sealed. */
  protected final B sealed(StepBatch batch) {
    B own = own("batch", kinds.batch(), batch);
    own.requireSealed();
    return own;
  }

  public static <T> T own(String name, Class<T> type, Object value) {
    if (!type.isInstance(value)) {
      throw new IllegalArgumentException(
          "%s: a %s (expected: a %s of this device)"
              .formatted(name, value.getClass().getSimpleName(), type.getSimpleName()));
    }
    return type.cast(value);
  }

  private static KvShape requireCache(KvCache cache, int layer, HostStepBatch batch) {
    KvShape shape = cache.shape();
    if (layer < 0 || layer >= shape.layers()) {
      throw new IllegalArgumentException(
          "layer: %d (expected: 0 to %d)".formatted(layer, shape.layers() - 1));
    }
    batch.requireCovered(shape);
    return shape;
  }

  private static int requireHeads(Tensor q, KvShape shape) {
    long heads = q.columns() / shape.headDim();
    if (heads == 0 || q.columns() % shape.headDim() != 0 || heads % shape.kvHeads() != 0) {
      throw new IllegalArgumentException(
          "q: %d columns (expected: a multiple of kvHeads * headDim, %d * %d)"
              .formatted(q.columns(), shape.kvHeads(), shape.headDim()));
    }
    return Math.toIntExact(heads);
  }

  private static void require(String name, Tensor tensor, int rows, int columns) {
    if (tensor.dtype() != FLOAT32
        || rows < 0
        || columns < 0
        || tensor.rows() < rows
        || tensor.columns() < columns) {
      throw new IllegalArgumentException(
          "%s: %s [%d, %d] (expected: FLOAT32, at least [%d, %d], rows and columns >= 0)"
              .formatted(name, tensor.dtype(), tensor.rows(), tensor.columns(), rows, columns));
    }
    requireMemory(name, tensor);
  }

  private static void requireMemory(String name, Tensor tensor) {
    if (!tensor.segment().isNative() || !tensor.segment().scope().isAlive()) {
      throw new IllegalArgumentException(
          "%s: memory of the heap or of a closed device (expected: of an open device)"
              .formatted(name));
    }
  }

  private static void requireApart(String aName, Tensor a, String bName, Tensor b) {
    if (a.address() < b.address() + b.bytes() && b.address() < a.address() + a.bytes()) {
      throw new IllegalArgumentException(
          "%s: overlaps %s (expected: memory of its own)".formatted(aName, bName));
    }
  }
}
