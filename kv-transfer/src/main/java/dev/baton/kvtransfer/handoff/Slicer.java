package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.SlabRange;

/**
 * Cuts computed token ranges into slabs of at most a given size, lazily, so that what was computed
 * while slabs were scarce leaves in larger ones. First by tokens; where all layers of {@link
 * #TILE_TOKENS} tokens do not fit into a slab, also by layers, since the runs that pack and unpack
 * copy are as long as the tokens of a slab.
 */
final class Slicer {

  /** Tokens below which a slab rather loses layers: 64 tokens of 128 halves are runs of 16 KiB. */
  static final int TILE_TOKENS = 64;

  private final KvGeometry geometry;
  private final long slabBytes;
  private int nextToken;
  private int computed;

  private int tileFrom;
  private int tileTo;
  private int tileLayer;
  private int tileLayers;

  Slicer(KvGeometry geometry, long slabBytes, int firstToken) {
    if (geometry.bytesPerLayerToken() > slabBytes) {
      throw new IllegalArgumentException(
          "bytes of a layer of a token: %d (expected: at most a slab's %d)"
              .formatted(geometry.bytesPerLayerToken(), slabBytes));
    }
    this.geometry = geometry;
    this.slabBytes = slabBytes;
    this.nextToken = firstToken;
    this.computed = firstToken;
    this.tileLayer = geometry.layers();
  }

  /** Tokens below {@code tokens} may be cut. */
  void computed(int tokens) {
    computed = Math.max(computed, tokens);
  }

  boolean hasNext() {
    return tileLayer < geometry.layers() || nextToken < computed;
  }

  SlabRange next() {
    if (tileLayer == geometry.layers()) {
      cutTile();
    }
    int layerTo = Math.min(geometry.layers(), tileLayer + tileLayers);
    SlabRange range = new SlabRange(tileLayer, layerTo, tileFrom, tileTo);
    tileLayer = layerTo;
    return range;
  }

  private void cutTile() {
    long layerToken = geometry.bytesPerLayerToken();
    long wholeTokens = slabBytes / (layerToken * geometry.layers());
    int waiting = computed - nextToken;
    int tokens;
    if (wholeTokens >= Math.min(waiting, TILE_TOKENS)) {
      tokens = (int) Math.min(waiting, wholeTokens);
      tileLayers = geometry.layers();
    } else {
      tokens = (int) Math.min(Math.min(waiting, TILE_TOKENS), slabBytes / layerToken);
      tileLayers = (int) (slabBytes / (layerToken * tokens));
    }
    tileFrom = nextToken;
    tileTo = nextToken + tokens;
    tileLayer = 0;
    nextToken = tileTo;
  }
}
