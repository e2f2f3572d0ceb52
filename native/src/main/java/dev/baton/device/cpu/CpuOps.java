package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.KvShape;
import dev.baton.device.Tensor;
import dev.baton.device.host.HostOps;
import dev.baton.device.host.HostStepBatch;
import dev.baton.device.host.RankGroup;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** Hands checked arguments to the kernels. */
final class CpuOps extends HostOps<CpuLinearWeight, CpuKvCache> {

  private final CpuKernels kernels;

  /** Addresses, then strides, of all ranks' parts; int64 {@code [2, ranks]}. */
  private final MemorySegment parts;

  CpuOps(CpuKernels kernels, RankGroup group, int rank, MemorySegment parts) {
    super(group, rank, CpuLinearWeight.class, CpuKvCache.class);
    this.kernels = kernels;
    this.parts = parts;
  }

  @Override
  protected void gatherRows(Tensor out, Tensor table, MemorySegment indices, int rows, int width) {
    kernels.gatherRows(
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
  protected void rmsNormRows(
      Tensor out, Tensor x, Tensor weight, float epsilon, int rows, int width) {
    kernels.rmsNorm(
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
    kernels.linear(
        out.address(),
        out.columns(),
        x.address(),
        x.columns(),
        rows,
        open(weight.packed()).address(),
        CpuDevice.code(weight.dtype()),
        weight.borders().address(),
        weight.ranges(),
        weight.outputs(),
        weight.inputs(),
        bias == null ? 0 : bias.address());
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
    kernels.attention(
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
    kernels.add(x.address(), x.columns(), y.address(), y.columns(), rows, width);
  }

  @Override
  protected void siluMultiplyRows(Tensor out, Tensor gate, Tensor up, int rows, int width) {
    kernels.siluMultiply(
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
  protected void sumRanks(Tensor[] tensors, int rows, int from, int to) {
    for (int r = 0; r < tensors.length; r++) {
      parts.setAtIndex(JAVA_LONG, r, tensors[r].address());
      parts.setAtIndex(JAVA_LONG, tensors.length + r, tensors[r].columns());
    }
    kernels.sumRanks(
        parts.address(), parts.address() + 8L * tensors.length, tensors.length, rows, from, to);
  }

  /** Weights and caches of a closed device must not reach a kernel. */
  private static MemorySegment open(MemorySegment memory) {
    if (!memory.scope().isAlive()) {
      throw new IllegalStateException("memory: of a closed device (expected: of an open device)");
    }
    return memory;
  }
}
