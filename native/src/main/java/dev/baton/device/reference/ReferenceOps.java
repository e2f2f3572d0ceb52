package dev.baton.device.reference;

import static dev.baton.device.reference.Canonical.LANES;
import static dev.baton.device.reference.ReferenceKvCache.KEY;
import static dev.baton.device.reference.ReferenceKvCache.VALUE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.baton.device.DType;
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
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Every operation as the exactness rules spell it out, one output element after the other. */
final class ReferenceOps
    extends HostOps<ReferenceLinearWeight, ReferenceGatedWeight, ReferenceKvCache> {

  ReferenceOps(RankGroup group, int rank) {
    super(
        group,
        rank,
        ReferenceLinearWeight.class,
        ReferenceGatedWeight.class,
        ReferenceKvCache.class);
  }

  @Override
  protected void gatherRows(Tensor out, Tensor table, MemorySegment indices, int rows, int width) {
    float[] row = new float[width];
    for (int i = 0; i < rows; i++) {
      long from = indices.getAtIndex(JAVA_INT, i) * table.columns();
      for (int c = 0; c < width; c++) {
        row[c] = ReferenceKvCache.get(table.segment(), table.dtype(), from + c);
      }
      write(out, i, row, width);
    }
  }

  @Override
  protected void gatherShards(
      Tensor out, List<ReferenceLinearWeight> shards, MemorySegment indices, int rows) {
    for (int i = 0; i < rows; i++) {
      int row = indices.getAtIndex(JAVA_INT, i);
      int shard = 0;
      for (; row >= shards.get(shard).outputs(); shard++) {
        row -= shards.get(shard).outputs();
      }
      write(out, i, shards.get(shard).row(row), shards.get(shard).inputs());
    }
  }

  @Override
  protected void rmsNormRows(
      Tensor out, Tensor x, Tensor weight, float epsilon, int rows, int width) {
    float[] w = read(weight, 0, (int) weight.columns());
    for (int i = 0; i < rows; i++) {
      float[] row = read(x, i, width);
      for (int from = 0; from < width; from += w.length) {
        norm(row, from, w, epsilon);
      }
      write(out, i, row, width);
    }
  }

  private static void norm(float[] row, int from, float[] w, float epsilon) {
    float[] lanes = new float[LANES];
    for (int c = 0; c < w.length; c++) {
      lanes[c % LANES] = Math.fma(row[from + c], row[from + c], lanes[c % LANES]);
    }
    float mean = Canonical.laneSum(lanes) / w.length;
    float scale = 1f / (float) Math.sqrt(mean + epsilon);
    for (int c = 0; c < w.length; c++) {
      row[from + c] = row[from + c] * scale * w[c];
    }
  }

  private static float[] normed(Tensor x, int i, @Nullable Norm norm, int width) {
    float[] row = read(x, i, width);
    if (norm != null) {
      norm(row, 0, read(norm.weight(), 0, width), norm.epsilon());
    }
    return row;
  }

  @Override
  protected void linearRows(
      Tensor out, Tensor x, ReferenceLinearWeight weight, @Nullable Tensor bias, int rows) {
    float[] biases = bias == null ? null : read(bias, 0, weight.outputs());
    for (int i = 0; i < rows; i++) {
      float[] row = read(x, i, weight.inputs());
      write(out, i, ReferenceProducts.multiply(row, weight, biases), weight.outputs());
    }
  }

  @Override
  protected void linearRows(List<Projection> products, Tensor x, @Nullable Norm norm, int rows) {
    for (Projection each : products) {
      ReferenceLinearWeight weight = (ReferenceLinearWeight) each.weight();
      float[] biases = each.bias() == null ? null : read(each.bias(), 0, weight.outputs());
      for (int i = 0; i < rows; i++) {
        float[] row = normed(x, i, norm, weight.inputs());
        write(each.out(), i, ReferenceProducts.multiply(row, weight, biases), weight.outputs());
      }
    }
  }

  @Override
  protected void addLinearRows(
      Tensor stream,
      Tensor x,
      ReferenceLinearWeight weight,
      @Nullable Tensor bias,
      Tensor scratch,
      int rows) {
    float[] biases = bias == null ? null : read(bias, 0, weight.outputs());
    for (int i = 0; i < rows; i++) {
      float[] sums = read(stream, i, weight.outputs());
      float[] more = ReferenceProducts.multiply(read(x, i, weight.inputs()), weight, biases);
      for (int c = 0; c < sums.length; c++) {
        sums[c] += more[c];
      }
      write(stream, i, sums, sums.length);
    }
  }

  @Override
  protected void gatedRows(
      Tensor out,
      Tensor x,
      @Nullable Norm norm,
      ReferenceGatedWeight weight,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      int rows) {
    int width = weight.outputs();
    float[] toGate = gateBias == null ? null : read(gateBias, 0, width);
    float[] toUp = upBias == null ? null : read(upBias, 0, width);
    for (int i = 0; i < rows; i++) {
      float[] row = normed(x, i, norm, weight.inputs());
      float[] gate = ReferenceProducts.multiply(row, weight.gate(), toGate);
      gate(gate, ReferenceProducts.multiply(row, weight.up(), toUp));
      write(out, i, gate, width);
    }
  }

  @Override
  protected void ropeStoreTokens(
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor cos,
      Tensor sin,
      ReferenceKvCache cache,
      int layer,
      HostStepBatch batch,
      int heads) {
    KvShape shape = cache.shape();
    int dim = shape.headDim();
    for (int i = 0; i < batch.tokens(); i++) {
      int position = batch.positions().getAtIndex(JAVA_INT, i);
      float[] c = read(cos, position, dim / 2);
      float[] s = read(sin, position, dim / 2);
      float[] query = read(q, i, heads * dim);
      for (int h = 0; h < heads; h++) {
        rotate(query, h * dim, dim, c, s);
      }
      write(q, i, query, heads * dim);
      float[] key = read(k, i, shape.kvHeads() * dim);
      float[] value = read(v, i, shape.kvHeads() * dim);
      int block = block(batch, i, position / shape.blockTokens());
      int slot = position % shape.blockTokens();
      for (int h = 0; h < shape.kvHeads(); h++) {
        rotate(key, h * dim, dim, c, s);
        cache.write(
            cache.offset(layer, block, h, KEY, slot),
            Arrays.copyOfRange(key, h * dim, (h + 1) * dim));
        cache.write(
            cache.offset(layer, block, h, VALUE, slot),
            Arrays.copyOfRange(value, h * dim, (h + 1) * dim));
      }
    }
  }

  private static void rotate(float[] x, int from, int dim, float[] cos, float[] sin) {
    for (int d = 0; d < dim / 2; d++) {
      float a = x[from + d];
      float b = x[from + d + dim / 2];
      x[from + d] = Math.fma(a, cos[d], -(b * sin[d]));
      x[from + d + dim / 2] = Math.fma(b, cos[d], a * sin[d]);
    }
  }

  @Override
  protected void attentionTokens(
      Tensor out,
      Tensor q,
      ReferenceKvCache cache,
      int layer,
      HostStepBatch batch,
      int heads,
      float scale,
      int window) {
    KvShape shape = cache.shape();
    int dim = shape.headDim();
    for (int i = 0; i < batch.tokens(); i++) {
      float[] queries = read(q, i, heads * dim);
      float[] result = new float[heads * dim];
      int token = i;
      int last = batch.positions().getAtIndex(JAVA_INT, i);
      int first = window == 0 ? 0 : Math.max(0, last - window + 1);
      for (int h = 0; h < heads; h++) {
        float[] query = Arrays.copyOfRange(queries, h * dim, (h + 1) * dim);
        int kvHead = h / (heads / shape.kvHeads());
        ReferenceAttention seen =
            new ReferenceAttention(
                cache, layer, kvHead, index -> block(batch, token, index), first, last);
        float[] one =
            shape.dtype() == DType.FLOAT32 ? seen.wide(query, scale) : seen.narrow(query, scale);
        System.arraycopy(one, 0, result, h * dim, dim);
      }
      write(out, i, result, heads * dim);
    }
  }

  @Override
  protected void addRows(Tensor x, Tensor y, int rows, int width) {
    for (int i = 0; i < rows; i++) {
      float[] a = read(x, i, width);
      float[] b = read(y, y.rows() == 1 ? 0 : i, width);
      for (int c = 0; c < width; c++) {
        a[c] += b[c];
      }
      write(x, i, a, width);
    }
  }

  @Override
  protected void siluMultiplyRows(Tensor out, Tensor gate, Tensor up, int rows, int width) {
    for (int i = 0; i < rows; i++) {
      float[] a = read(gate, i, width);
      gate(a, read(up, i, width));
      write(out, i, a, width);
    }
  }

  private static void gate(float[] gate, float[] up) {
    for (int c = 0; c < gate.length; c++) {
      gate[c] = gate[c] / (1f + Canonical.exp(-gate[c])) * up[c];
    }
  }

  @Override
  protected void linearSlots(
      Tensor out, Tensor x, List<LinearWeight> experts, HostRouting routing) {
    for (int expert = 0; expert < experts.size(); expert++) {
      int from = routing.begin(expert);
      int to = routing.begin(expert + 1);
      ReferenceLinearWeight weight = (ReferenceLinearWeight) experts.get(expert);
      linearRows(rows(out, from, to), rows(x, from, to), weight, null, to - from);
    }
  }

  @Override
  protected void gatedSlots(Tensor out, Tensor x, List<GatedWeight> experts, HostRouting routing) {
    for (int expert = 0; expert < experts.size(); expert++) {
      int from = routing.begin(expert);
      int to = routing.begin(expert + 1);
      ReferenceGatedWeight weight = (ReferenceGatedWeight) experts.get(expert);
      gatedRows(rows(out, from, to), rows(x, from, to), null, weight, null, null, to - from);
    }
  }

  private static Tensor rows(Tensor tensor, int from, int to) {
    long bytes = tensor.columns() * tensor.dtype().bytes();
    MemorySegment rows = tensor.segment().asSlice(from * bytes, (to - from) * bytes);
    return new Tensor(tensor.dtype(), to - from, tensor.columns(), rows);
  }

  @Override
  protected void combineRows(Tensor out, Tensor x, HostRouting routing, int width) {
    int chosen = routing.chosen();
    for (int i = 0; i < routing.rows(); i++) {
      float[] sums = new float[width];
      for (int j = 0; j < chosen; j++) {
        float weight = routing.weights().getAtIndex(JAVA_FLOAT, i * chosen + j);
        float[] row = read(x, routing.slots().getAtIndex(JAVA_INT, i * chosen + j), width);
        for (int c = 0; c < width; c++) {
          sums[c] = j == 0 ? weight * row[c] : Math.fma(weight, row[c], sums[c]);
        }
      }
      write(out, i, sums, width);
    }
  }

  @Override
  protected void sumRanks(Tensor[] parts, int rows, int from, int to) {
    float[] column = new float[parts.length];
    for (long i = 0; i < rows; i++) {
      for (int c = from; c < to; c++) {
        for (int r = 0; r < parts.length; r++) {
          column[r] = parts[r].segment().getAtIndex(JAVA_FLOAT, i * parts[r].columns() + c);
        }
        float sum = Canonical.treeSum(column, parts.length);
        for (Tensor part : parts) {
          part.segment().setAtIndex(JAVA_FLOAT, i * part.columns() + c, sum);
        }
      }
    }
  }

  private static int block(HostStepBatch batch, int token, int index) {
    long sequence = batch.sequenceOf().getAtIndex(JAVA_INT, token);
    return batch.tables().getAtIndex(JAVA_INT, sequence * batch.maxBlocks() + index);
  }

  private static float[] read(Tensor tensor, long row, int width) {
    if (tensor.dtype() != DType.FLOAT32) {
      throw new IllegalArgumentException(
          "tensor: %s (expected: FLOAT32)".formatted(tensor.dtype()));
    }
    float[] values = new float[width];
    MemorySegment.copy(tensor.segment(), JAVA_FLOAT, row * tensor.columns() * 4, values, 0, width);
    return values;
  }

  private static void write(Tensor tensor, long row, float[] values, int width) {
    MemorySegment.copy(values, 0, tensor.segment(), JAVA_FLOAT, row * tensor.columns() * 4, width);
  }
}
