package dev.baton.kvtransfer;

/**
 * Layers and context tokens that a slab carries, for all KV heads of the model, as {@code
 * [layer][k|v][head][token][dim]}.
 */
public record SlabRange(int layerFrom, int layerTo, int tokenFrom, int tokenTo) {

  public SlabRange {
    if (layerFrom < 0 || layerFrom >= layerTo || tokenFrom < 0 || tokenFrom >= tokenTo) {
      throw new IllegalArgumentException(
          "range: layers [%d, %d), tokens [%d, %d) (expected: rising, not empty)"
              .formatted(layerFrom, layerTo, tokenFrom, tokenTo));
    }
  }
}
