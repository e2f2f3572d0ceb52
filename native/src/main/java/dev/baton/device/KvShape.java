package dev.baton.device;

/**
 * Size of one rank's paged KV cache.
 *
 * @param layers layers of the model
 * @param blocks blocks in the pool
 * @param blockTokens token positions of a block; a multiple of 16, the attention's tile
 * @param headFrom the model-wide number of this rank's first KV head
 * @param kvHeads KV heads of this rank
 * @param headDim elements of one head
 * @param dtype dtype of keys and values, FLOAT32 or BFLOAT16
 */
public record KvShape(
    int layers, int blocks, int blockTokens, int headFrom, int kvHeads, int headDim, DType dtype) {

  public KvShape {
    if (blockTokens <= 0 || blockTokens % 16 != 0) {
      throw new IllegalArgumentException(
          "blockTokens: %d (expected: a positive multiple of 16)".formatted(blockTokens));
    }
    if (layers <= 0 || blocks <= 0 || headFrom < 0 || kvHeads <= 0 || headDim <= 0) {
      throw new IllegalArgumentException("shape: %s (expected: positive sizes)".formatted(this));
    }
    if (dtype != DType.FLOAT32 && dtype != DType.BFLOAT16) {
      throw new IllegalArgumentException(
          "dtype: %s (expected: FLOAT32 or BFLOAT16)".formatted(dtype));
    }
  }

  /** Bytes of one block over all layers, keys and values. */
  public long blockBytes() {
    return 2L * layers * kvHeads * headDim * blockTokens * dtype.bytes();
  }

  public long bytes() {
    return blockBytes() * blocks;
  }
}
