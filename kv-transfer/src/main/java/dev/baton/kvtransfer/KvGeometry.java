package dev.baton.kvtransfer;

/**
 * Size of a session's KV on the wire; must be equal on both sides.
 *
 * @param kvHeads of the whole model
 * @param bytesPerElement 2 or 4
 */
public record KvGeometry(int layers, int kvHeads, int headDim, int bytesPerElement) {

  public KvGeometry {
    if (layers <= 0
        || kvHeads <= 0
        || headDim <= 0
        || (bytesPerElement != 2 && bytesPerElement != 4)) {
      throw new IllegalArgumentException(
          "geometry: %d layers, %d heads, %d elements, %d bytes (expected: positive, 2 or 4 bytes)"
              .formatted(layers, kvHeads, headDim, bytesPerElement));
    }
  }

  /** Bytes of one layer of one token, keys and values. */
  public long bytesPerLayerToken() {
    return 2L * kvHeads * headDim * bytesPerElement;
  }

  public long bytes(SlabRange range) {
    return bytesPerLayerToken()
        * (range.layerTo() - range.layerFrom())
        * (range.tokenTo() - range.tokenFrom());
  }
}
