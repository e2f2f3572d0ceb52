package dev.baton.device.reference;

import static dev.baton.device.reference.ReferenceKvCache.KEY;

import dev.baton.device.DType;
import dev.baton.device.KvShape;
import dev.baton.device.LogitScan;
import dev.baton.device.Ops;
import dev.baton.device.SlabRegion;
import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.device.host.Bf16;
import dev.baton.device.host.HostDevice;
import dev.baton.device.host.HostMemory;
import dev.baton.device.host.RankGroup;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** A device in plain Java that follows the exactness rules to the letter. Runs anywhere, slowly. */
public final class ReferenceDevice extends HostDevice<ReferenceKvCache> {

  private static final int ALIGNMENT = 64;

  /** Weights are smaller: what is larger than this, bfloat16 could round to infinity. */
  private static final float MOST = 0x1p127f;

  private ReferenceDevice() {
    super(
        new HostMemory((Arena arena, long bytes) -> arena.allocate(bytes, ALIGNMENT)),
        ReferenceKvCache.class);
  }

  public static ReferenceDevice open() {
    return new ReferenceDevice();
  }

  @Override
  public LogitScan openLogitScan() {
    return new ReferenceLogitScan();
  }

  @Override
  public String description() {
    return "cpu: plain Java reference (slow; for tests, or where no native library can be had)";
  }

  @Override
  protected long firstUnusable(WeightSlice slice) {
    long at = 0;
    for (int row = slice.rowFrom(); row < slice.rowTo(); row++) {
      for (int column = slice.columnFrom(); column < slice.columnTo(); column++, at++) {
        if (!(Math.abs(value(slice, row, column)) < MOST)) {
          return at;
        }
      }
    }
    return -1;
  }

  @Override
  protected void convertInto(Tensor to, WeightSlice slice) {
    long at = 0;
    for (int row = slice.rowFrom(); row < slice.rowTo(); row++) {
      for (int column = slice.columnFrom(); column < slice.columnTo(); column++) {
        ReferenceKvCache.set(to.segment(), to.dtype(), at++, value(slice, row, column));
      }
    }
  }

  @Override
  protected ReferenceLinearWeight pack(WeightSlice slice, WeightFormat format, int[] borders) {
    int outputs = slice.rowTo() - slice.rowFrom();
    int inputs = slice.columnTo() - slice.columnFrom();
    if (format == WeightFormat.INT8 || format == WeightFormat.INT4) {
      return Quantized.pack(slice, format, borders);
    }
    float[] values = new float[Math.multiplyExact(outputs, inputs)];
    for (int o = 0; o < outputs; o++) {
      for (int k = 0; k < inputs; k++) {
        float value = value(slice, slice.rowFrom() + o, slice.columnFrom() + k);
        values[k * outputs + o] =
            format == WeightFormat.BFLOAT16 ? Bf16.toFloat(Bf16.fromFloat(value)) : value;
      }
    }
    return new ReferenceLinearWeight(outputs, inputs, format, borders, values, new float[0]);
  }

  @Override
  protected ReferenceGatedWeight packPairs(WeightSlice gate, WeightSlice up, WeightFormat format) {
    int[] borders = {0, gate.columns()};
    return new ReferenceGatedWeight(pack(gate, format, borders), pack(up, format, borders));
  }

  static float value(WeightSlice slice, int row, int column) {
    return ReferenceKvCache.get(slice.data(), slice.dtype(), (long) row * slice.columns() + column);
  }

  @Override
  protected ReferenceKvCache cache(KvShape shape, MemorySegment memory) {
    return new ReferenceKvCache(shape, memory);
  }

  @Override
  protected Ops openRank(RankGroup group, int rank) {
    return new ReferenceOps(group, rank);
  }

  @Override
  protected void copyKv(
      ReferenceKvCache cache,
      int[] blockTable,
      SlabRegion region,
      int headFrom,
      int headTo,
      MemorySegment slab,
      boolean toSlab) {
    KvShape shape = cache.shape();
    int heads = region.headTo() - region.headFrom();
    int tokens = region.tokenTo() - region.tokenFrom();
    for (int layer = region.layerFrom(); layer < region.layerTo(); layer++) {
      for (int keyOrValue = KEY; keyOrValue <= ReferenceKvCache.VALUE; keyOrValue++) {
        for (int head = headFrom; head < headTo; head++) {
          for (int token = region.tokenFrom(); token < region.tokenTo(); token++) {
            long at = (layer - region.layerFrom()) * 2L + keyOrValue;
            at = at * heads + head - region.headFrom();
            at = at * tokens + token - region.tokenFrom();
            at *= SlabRegion.rowBytes(shape.headDim(), region.dtype());
            long cached =
                cache.offset(
                    layer,
                    blockTable[token / shape.blockTokens()],
                    head - shape.headFrom(),
                    keyOrValue,
                    token % shape.blockTokens());
            copyRow(cache, cached, region.dtype(), slab, at, toSlab);
          }
        }
      }
    }
  }

  private static void copyRow(
      ReferenceKvCache cache,
      long cached,
      DType slabDtype,
      MemorySegment slab,
      long at,
      boolean toSlab) {
    KvShape shape = cache.shape();
    if (slabDtype == shape.dtype()) {
      long bytes = SlabRegion.rowBytes(shape.headDim(), slabDtype);
      if (toSlab) {
        MemorySegment.copy(cache.memory(), cached, slab, at, bytes);
      } else {
        MemorySegment.copy(slab, at, cache.memory(), cached, bytes);
      }
      return;
    }
    float[] row = new float[shape.headDim()];
    if (toSlab) {
      cache.read(cached, row);
      KvRow.write(slab, slabDtype, at, row);
    } else {
      KvRow.read(slab, slabDtype, at, row);
      cache.write(cached, row);
    }
  }
}
