package dev.baton.kvtransfer;

/**
 * Size of a session's KV on the wire; must be equal on both sides.
 *
 * @param kvHeads of the whole model
 * @param bytesPerElement 4, 2, or 1: eight bits and a float32 scale per token and head
 */
public record KvGeometry(int layers, int kvHeads, int headDim, int bytesPerElement) {

  public KvGeometry {
    if (layers <= 0
        || kvHeads <= 0
        || headDim <= 0
        || (bytesPerElement != 1 && bytesPerElement != 2 && bytesPerElement != 4)) {
      throw new IllegalArgumentException(
          "geometry: %d layers, %d heads, %d elements, %d bytes (expected: positive, 1, 2 or 4 bytes)"
              .formatted(layers, kvHeads, headDim, bytesPerElement));
    }
  }

  /** Bytes of one layer of one token, keys and values. */
  public long bytesPerLayerToken() {
    return 2L * kvHeads * rowBytes();
  }

  /** Bytes of the key or the value of one token and head. */
  public long rowBytes() {
    return (long) headDim * bytesPerElement + (bytesPerElement == 1 ? Float.BYTES : 0);
  }

  public long bytes(SlabRange range) {
    return bytesPerLayerToken()
        * (range.layerTo() - range.layerFrom())
        * (range.tokenTo() - range.tokenFrom());
  }
}
