package dev.baton.device;

/**
 * Which KV a slab carries. On the wire KV is canonical: {@code [layer][k|v][kv head][token][dim]},
 * dense, little-endian; in INT8 a token's elements are followed by their scale, a float32. All
 * numbers are the whole model's, so that ranks of any degree find their part.
 *
 * @param dtype dtype of the slab, FLOAT32, BFLOAT16 or INT8; packing and unpacking convert when the
 *     cache's differs, which is exact for INT8 in a slab of FLOAT32
 */
public record SlabRegion(
    int layerFrom,
    int layerTo,
    int headFrom,
    int headTo,
    int tokenFrom,
    int tokenTo,
    int headDim,
    DType dtype) {

  public SlabRegion {
    if (layerFrom < 0
        || layerFrom >= layerTo
        || headFrom < 0
        || headFrom >= headTo
        || tokenFrom < 0
        || tokenFrom >= tokenTo
        || headDim <= 0) {
      throw new IllegalArgumentException(
          "region: layers [%d, %d), heads [%d, %d), tokens [%d, %d), headDim %d (expected: rising, not empty)"
              .formatted(layerFrom, layerTo, headFrom, headTo, tokenFrom, tokenTo, headDim));
    }
    requireKv(dtype);
  }

  public long bytes() {
    return 2L
        * (layerTo - layerFrom)
        * (headTo - headFrom)
        * (tokenTo - tokenFrom)
        * rowBytes(headDim, dtype);
  }

  /** Bytes of the key or value of one token and head, with its scale where it has one. */
  public static long rowBytes(int elements, DType dtype) {
    requireKv(dtype);
    return (long) elements * dtype.bytes() + (dtype == DType.INT8 ? Float.BYTES : 0);
  }

  /** Refuses dtypes that KV cannot have. */
  static void requireKv(DType dtype) {
    if (dtype != DType.FLOAT32 && dtype != DType.BFLOAT16 && dtype != DType.INT8) {
      throw new IllegalArgumentException(
          "dtype: %s (expected: FLOAT32, BFLOAT16 or INT8)".formatted(dtype));
    }
  }
}
