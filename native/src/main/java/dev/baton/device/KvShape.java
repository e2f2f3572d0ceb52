package dev.baton.device;

/**
 * Size of one rank's paged KV cache.
 *
 * @param layers layers of the model
 * @param blocks blocks in the pool
 * @param blockTokens token positions of a block; a multiple of {@link #TILE_TOKENS}
 * @param headFrom the model-wide number of this rank's first KV head
 * @param kvHeads KV heads of this rank
 * @param headDim elements of one head
 * @param dtype dtype of keys and values, FLOAT32, BFLOAT16 or INT8
 */
public record KvShape(
    int layers, int blocks, int blockTokens, int headFrom, int kvHeads, int headDim, DType dtype) {

  /** Positions whose values are summed together; no block may cut them. */
  public static final int TILE_TOKENS = 32;

  /** Elements to which a row of a narrow dtype is filled up with zeros. */
  private static final int TILE_ELEMENTS = 32;

  public KvShape {
    if (blockTokens <= 0 || blockTokens % TILE_TOKENS != 0) {
      throw new IllegalArgumentException(
          "blockTokens: %d (expected: a positive multiple of %d)"
              .formatted(blockTokens, TILE_TOKENS));
    }
    if (layers <= 0 || blocks <= 0 || headFrom < 0 || kvHeads <= 0 || headDim <= 0) {
      throw new IllegalArgumentException("shape: %s (expected: positive sizes)".formatted(this));
    }
    SlabRegion.requireKv(dtype);
  }

  /** Bytes that the key or the value of one token and head takes in the cache. */
  public static long rowBytes(int headDim, DType dtype) {
    int width =
        dtype == DType.FLOAT32 ? headDim : Math.ceilDiv(headDim, TILE_ELEMENTS) * TILE_ELEMENTS;
    return SlabRegion.rowBytes(width, dtype);
  }

  /** {@link #rowBytes(int, DType)} of this cache. */
  public long rowBytes() {
    return rowBytes(headDim, dtype);
  }

  /** Bytes of one block over all layers, keys and values. */
  public long blockBytes() {
    return 2L * layers * kvHeads * blockTokens * rowBytes();
  }

  public long bytes() {
    return blockBytes() * blocks;
  }
}
