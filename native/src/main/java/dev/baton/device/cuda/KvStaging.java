package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.baton.device.DType;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepShape;
import java.lang.foreign.MemorySegment;
import jcuda.driver.CUevent;
import jcuda.driver.CUstream;
import org.jspecify.annotations.Nullable;

/**
 * Copies KV between a GPU's blocks and slabs in host memory: a kernel packs a piece into one of two
 * buffers on the GPU, from which it goes to a pinned one and on to the slab, while the next piece
 * is packed; unpacking is the reverse. On a stream of its own, beside whatever a step does. One
 * thread at a time.
 */
final class KvStaging {

  /** Bytes of a buffer: a slab as a rule, so that one piece is one slab. */
  private static final long BYTES = 4L << 20;

  private static final int TOKENS_A_BLOCK = 8;
  private static final int BLOCK = 256;

  private final CudaGpu gpu;
  private final CudaDriver driver;
  private final CUstream stream;
  private final Launch launch;
  private final Buffer[] buffers = new Buffer[2];
  private MemorySegment table = MemorySegment.NULL;
  private MemorySegment tableOnGpu = MemorySegment.NULL;

  /** Layers and tokens that travel together. */
  private record Piece(int layerFrom, int layerTo, int tokenFrom, int tokenTo) {}

  private final class Buffer {
    final CUevent done = driver.createEvent(false);
    MemorySegment host = MemorySegment.NULL;
    MemorySegment onGpu = MemorySegment.NULL;
    Piece piece = new Piece(0, 0, 0, 0);
    boolean travelling;

    void reserve(long bytes) {
      if (host.byteSize() < bytes) {
        host = gpu.pinned(Math.max(bytes, BYTES));
        onGpu = gpu.allocate(host.byteSize(), "KV staging", false);
      }
    }
  }

  /**
   * @param planned steps to come, for which all is allocated now; null = nobody knows
   */
  KvStaging(CudaGpu gpu, @Nullable StepShape planned) {
    this.gpu = gpu;
    driver = gpu.driver();
    stream = gpu.stream();
    launch = new Launch(gpu, stream);
    buffers[0] = new Buffer();
    buffers[1] = new Buffer();
    if (planned != null) {
      buffers[0].reserve(BYTES);
      buffers[1].reserve(BYTES);
      reserveTable((long) planned.blocks() * Integer.BYTES);
    }
  }

  /** GPU memory that a staging takes as a rule. */
  static long bytes() {
    return 2 * BYTES;
  }

  /** All numbers are checked; the heads, model-wide, are the cache's own. */
  void copy(
      CudaKvCache cache,
      int[] blockTable,
      SlabRegion region,
      int headFrom,
      int headTo,
      MemorySegment slab,
      boolean toSlab) {
    gpu.bind();
    putTable(blockTable);
    int heads = headTo - headFrom;
    long rowBytes = SlabRegion.rowBytes(region.headDim(), region.dtype());
    long tokenBytes = 2 * heads * rowBytes;
    int tokens = region.tokenTo() - region.tokenFrom();
    int layers = Math.clamp(BYTES / (tokenBytes * tokens), 1, region.layerTo());
    int together = Math.clamp(BYTES / tokenBytes, 1, tokens);
    int next = 0;
    try {
      for (int layer = region.layerFrom(); layer < region.layerTo(); layer += layers) {
        for (int token = region.tokenFrom(); token < region.tokenTo(); token += together) {
          Buffer buffer = buffers[next];
          next = 1 - next;
          settle(buffer, region, headFrom, heads, rowBytes, slab, toSlab);
          Piece piece =
              new Piece(
                  layer,
                  Math.min(layer + layers, region.layerTo()),
                  token,
                  Math.min(token + together, region.tokenTo()));
          buffer.reserve(bytes(piece, heads, rowBytes));
          buffer.piece = piece;
          begin(buffer, cache, region, headFrom, heads, rowBytes, slab, toSlab);
        }
      }
      settle(buffers[next], region, headFrom, heads, rowBytes, slab, toSlab);
      settle(buffers[1 - next], region, headFrom, heads, rowBytes, slab, toSlab);
    } finally {
      driver.synchronize(stream);
      buffers[0].travelling = false;
      buffers[1].travelling = false;
    }
  }

  /** As {@link #copy}, where the slab lies in memory that this GPU reaches: by one kernel. */
  void copyDirectly(
      CudaKvCache cache,
      int[] blockTable,
      SlabRegion region,
      int headFrom,
      int headTo,
      MemorySegment slab,
      boolean toSlab) {
    gpu.bind();
    putTable(blockTable);
    launch(
        slab.address(),
        cache,
        region.dtype(),
        new Piece(region.layerFrom(), region.layerTo(), region.tokenFrom(), region.tokenTo()),
        headFrom,
        headTo - headFrom,
        region.headTo() - region.headFrom(),
        headFrom - region.headFrom(),
        toSlab);
    // Who reads the slab next, a network or another stream, does not wait for this one.
    driver.synchronize(stream);
  }

  private static int code(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> 0;
      case BFLOAT16 -> 1;
      case INT8 -> 2;
      case FLOAT16, INT32 -> throw new IllegalArgumentException("slab: " + dtype);
    };
  }

  private static long bytes(Piece piece, int heads, long rowBytes) {
    return 2L
        * (piece.layerTo - piece.layerFrom)
        * heads
        * (piece.tokenTo - piece.tokenFrom)
        * rowBytes;
  }

  private void reserveTable(long bytes) {
    if (table.byteSize() < bytes) {
      table = gpu.pinned(2 * bytes);
      tableOnGpu = gpu.allocate(2 * bytes, "KV staging", false);
    }
  }

  private void putTable(int[] blockTable) {
    long bytes = (long) blockTable.length * Integer.BYTES;
    reserveTable(bytes);
    MemorySegment.copy(blockTable, 0, table, JAVA_INT, 0, blockTable.length);
    driver.upload(tableOnGpu.address(), table.asSlice(0, bytes), stream);
  }

  /** Packs a piece and sends it on its way, or sends it from the slab and unpacks it. */
  private void begin(
      Buffer buffer,
      CudaKvCache cache,
      SlabRegion region,
      int headFrom,
      int heads,
      long rowBytes,
      MemorySegment slab,
      boolean toSlab) {
    Piece piece = buffer.piece;
    MemorySegment host = buffer.host.asSlice(0, bytes(piece, heads, rowBytes));
    if (!toSlab) {
      move(host, region, piece, headFrom, heads, rowBytes, slab, false);
      driver.upload(buffer.onGpu.address(), host, stream);
    }
    launch(buffer.onGpu.address(), cache, region.dtype(), piece, headFrom, heads, heads, 0, toSlab);
    if (toSlab) {
      driver.download(host, buffer.onGpu.address(), stream);
    }
    driver.record(buffer.done, stream);
    buffer.travelling = true;
  }

  /** Between blocks and {@code slab [layers][2][slabHeads][tokens]}, heads from slabHeadFrom on. */
  private void launch(
      long slab,
      CudaKvCache cache,
      DType dtype,
      Piece piece,
      int headFrom,
      int heads,
      int slabHeads,
      int slabHeadFrom,
      boolean toSlab) {
    int tokens = piece.tokenTo - piece.tokenFrom;
    launch.of(toSlab ? "kv_pack" : "kv_unpack").address(slab).number(code(dtype));
    cache.write(launch.struct(CudaKvCache.LAYER_BYTES), 0);
    launch
        .number(cache.layerBytes())
        .address(tableOnGpu.address())
        .number(piece.layerFrom)
        .number(headFrom - cache.shape().headFrom())
        .number(piece.tokenFrom)
        .number(tokens)
        .number(slabHeads)
        .number(slabHeadFrom)
        .run(
            Math.ceilDiv(tokens, TOKENS_A_BLOCK),
            heads,
            2 * (piece.layerTo - piece.layerFrom),
            BLOCK,
            0);
  }

  private void settle(
      Buffer buffer,
      SlabRegion region,
      int headFrom,
      int heads,
      long rowBytes,
      MemorySegment slab,
      boolean toSlab) {
    if (!buffer.travelling) {
      return;
    }
    buffer.travelling = false;
    driver.synchronize(buffer.done);
    if (toSlab) {
      MemorySegment host = buffer.host.asSlice(0, bytes(buffer.piece, heads, rowBytes));
      move(host, region, buffer.piece, headFrom, heads, rowBytes, slab, true);
    }
  }

  /** Between a buffer, dense over its own heads and tokens, and the slab. */
  private static void move(
      MemorySegment host,
      SlabRegion region,
      Piece piece,
      int headFrom,
      int heads,
      long rowBytes,
      MemorySegment slab,
      boolean toSlab) {
    long slabHead = (region.tokenTo() - region.tokenFrom()) * rowBytes;
    long slabPart = slabHead * (region.headTo() - region.headFrom());
    long run = (piece.tokenTo - piece.tokenFrom) * rowBytes;
    long at = 0;
    for (int layer = piece.layerFrom; layer < piece.layerTo; layer++) {
      for (int values = 0; values <= 1; values++) {
        for (int head = 0; head < heads; head++) {
          long there =
              (2L * (layer - region.layerFrom()) + values) * slabPart
                  + (headFrom + head - region.headFrom()) * slabHead
                  + (piece.tokenFrom - region.tokenFrom()) * rowBytes;
          if (toSlab) {
            MemorySegment.copy(host, at, slab, there, run);
          } else {
            MemorySegment.copy(slab, there, host, at, run);
          }
          at += run;
        }
      }
    }
  }
}
