package dev.baton.device.host;

import dev.baton.device.GatedWeight;
import dev.baton.device.KvCache;
import dev.baton.device.LinearWeight;
import dev.baton.device.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * The ops of one rank of a host device: what reads or writes memory that all ranks share, the
 * collectives among it. Subclasses bring the kernels.
 *
 * @param <W> the device's own kind of packed weight
 * @param <G> the device's own kind of gate and weight packed together
 * @param <C> the device's own kind of KV cache
 */
public abstract class HostOps<W extends LinearWeight, G extends GatedWeight, C extends KvCache>
    extends CheckedOps<W, G, C, HostStepBatch, HostRouting> {

  private final RankGroup group;
  private final int rank;

  protected HostOps(
      RankGroup group, int rank, Class<W> weightType, Class<G> gatedType, Class<C> cacheType) {
    super(
        rank,
        group.ranks(),
        new Kinds<>(weightType, gatedType, cacheType, HostStepBatch.class, HostRouting.class));
    this.group = group;
    this.rank = rank;
  }

  /** {@code out[i] = table[indices[i]]} for {@code rows} rows of {@code width} elements. */
  protected abstract void gatherRows(
      Tensor out, Tensor table, MemorySegment indices, int rows, int width);

  /**
   * {@code out[i]} = row {@code indices[i]} of the rows of all {@code shards} in order, which are
   * of one format and one range of inputs.
   */
  protected abstract void gatherShards(Tensor out, List<W> shards, MemorySegment indices, int rows);

  /** Puts the tree sum of all {@code parts} in columns [from, to) into each of them. */
  protected abstract void sumRanks(Tensor[] parts, int rows, int from, int to);

  @Override
  protected final void embedTokens(Tensor out, Tensor table, HostStepBatch batch, int width) {
    gatherRows(out, table, batch.tokenIds(), batch.tokens(), width);
  }

  @Override
  protected final void embedTokens(Tensor out, List<W> shards, HostStepBatch batch) {
    gatherShards(out, shards, batch.tokenIds(), batch.tokens());
  }

  @Override
  protected final void gatherTokens(Tensor out, Tensor x, HostStepBatch batch, int width) {
    gatherRows(out, x, batch.logitIndex(), batch.logitRows(), width);
  }

  @Override
  protected final void routeRows(HostRouting routing, Tensor scores, int rows, boolean normalize) {
    routing.route(scores, rows, normalize);
  }

  @Override
  protected final void gatherSlots(Tensor out, Tensor x, HostRouting routing, int width) {
    gatherRows(out, x, routing.rowOfSlot(), routing.rows() * routing.chosen(), width);
  }

  @Override
  protected final void reduceRanks(Tensor x, int rows, int width) {
    group.publish(rank, "allReduce", x, rows, width);
    group.meet(rank);
    group.requireAlike(true);
    // Every rank sums its share of the columns for all; shares are whole vectors.
    int vectors = (width + 15) / 16;
    int from = Math.min(width, vectors * rank / ranks() * 16);
    int to = Math.min(width, vectors * (rank + 1) / ranks() * 16);
    if (from < to) {
      sumRanks(group.tensors(), rows, from, to);
    }
    group.meet(rank);
  }

  @Override
  protected final void gatherColumns(Tensor out, Tensor part, int rows, int columnFrom, int width) {
    if (ranks() > 1) {
      group.publish(rank, "allGather", out, rows, width);
      group.meet(rank);
      group.requireAlike(false);
    }
    for (int row = 0; row < rows; row++) {
      MemorySegment.copy(
          part.segment(),
          row * part.columns() * 4,
          out.segment(),
          (row * out.columns() + columnFrom) * 4,
          4L * width);
    }
    if (ranks() > 1) {
      group.meet(rank);
    }
  }

  @Override
  public final void abort(Throwable cause) {
    group.abort(cause);
  }
}
