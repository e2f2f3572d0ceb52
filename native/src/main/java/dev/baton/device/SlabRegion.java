package dev.baton.device;

/**
 * Which KV a slab carries. On the wire KV is canonical: {@code [layer][k|v][kv head][token][dim]},
 * dense, little-endian. All numbers are the whole model's, so that ranks of any degree find their
 * part.
 *
 * @param dtype dtype of the slab, FLOAT32 or BFLOAT16; packing and unpacking convert when the
 *     cache's differs
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
  }

  public long bytes() {
    return 2L
        * (layerTo - layerFrom)
        * (headTo - headFrom)
        * (tokenTo - tokenFrom)
        * headDim
        * dtype.bytes();
  }
}
