package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.SlabRange;

/**
 * Cuts what is computed into slabs of at most a given size, lazily, so that what was computed while
 * slabs were scarce leaves in larger ones.
 *
 * <p>Tokens are cut in runs. Of tokens that are all computed, a run is what one slab holds: first
 * by tokens; where all layers of {@link #TILE_TOKENS} tokens do not fit into a slab, also by
 * layers, since the runs that pack and unpack copy are as long as the tokens of a slab. Of tokens
 * that are being computed, which come layer by layer, a run is all of them, and is cut by bands of
 * as few layers as fill a slab: so when the last layer is computed, little is left to send.
 */
final class Slicer {

  /** Tokens below which a slab rather loses layers: 64 tokens of 128 halves are runs of 16 KiB. */
  static final int TILE_TOKENS = 64;

  private final KvGeometry geometry;
  private final long slabBytes;

  /** Tokens before it are in runs that were cut, or in the present one. */
  private int nextToken;

  private int computed;

  /** Layers {@code [0, passedLayers)} of tokens before {@code passedTokens} are computed. */
  private int passedLayers;

  private int passedTokens;

  /** The present run: its tokens, and what is to be cut next. Over when there is no layer left. */
  private int runFrom;

  private int runTo;
  private int tile;
  private int band;
  private int token;
  private int layer;

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
    this.layer = geometry.layers();
  }

  /** Tokens below {@code tokens} may be cut. */
  void computed(int tokens) {
    computed = Math.max(computed, tokens);
  }

  /**
   * Of tokens below {@code tokens}, so many layers may be cut. The latest word counts: a context
   * that is computed again begins again.
   */
  void computed(int layers, int tokens) {
    passedLayers = layers;
    passedTokens = tokens;
  }

  boolean hasNext() {
    if (layer < geometry.layers()) {
      return bandTo() <= layersThere();
    }
    return nextToken < computed || firstBandPassed();
  }

  /** After {@link #hasNext} alone. */
  SlabRange next() {
    if (layer == geometry.layers()) {
      if (nextToken < computed) {
        beginComputed();
      } else {
        begin(passedTokens, passedTile(), passedBand());
      }
    }
    SlabRange range = new SlabRange(layer, bandTo(), token, Math.min(runTo, token + tile));
    token = range.tokenTo();
    if (token == runTo) {
      token = runFrom;
      layer = range.layerTo();
    }
    return range;
  }

  private int bandTo() {
    return Math.min(geometry.layers(), layer + band);
  }

  /** Of the present run. */
  private int layersThere() {
    if (runTo <= computed) {
      return geometry.layers();
    }
    return runTo <= passedTokens ? passedLayers : 0;
  }

  private void beginComputed() {
    long layerToken = geometry.bytesPerLayerToken();
    long wholeTokens = slabBytes / (layerToken * geometry.layers());
    int waiting = computed - nextToken;
    if (wholeTokens >= Math.min(waiting, TILE_TOKENS)) {
      int tokens = (int) Math.min(waiting, wholeTokens);
      begin(nextToken + tokens, tokens, geometry.layers());
    } else {
      int tokens = (int) Math.min(Math.min(waiting, TILE_TOKENS), slabBytes / layerToken);
      begin(nextToken + tokens, tokens, (int) (slabBytes / (layerToken * tokens)));
    }
  }

  /**
   * Where a slab holds all layers there is nothing to gain; where it would not be full, it waits.
   */
  private boolean firstBandPassed() {
    if (nextToken >= passedTokens) {
      return false;
    }
    int layers = passedBand();
    return layers < geometry.layers() && layers <= passedLayers;
  }

  private int passedBand() {
    return (int)
        Math.min(geometry.layers(), slabBytes / (geometry.bytesPerLayerToken() * passedTile()));
  }

  /** As long as a slab has room for in one layer, and all about alike. */
  private int passedTile() {
    int waiting = passedTokens - nextToken;
    long most = slabBytes / geometry.bytesPerLayerToken();
    return Math.ceilDiv(waiting, (int) Math.ceilDiv(waiting, most));
  }

  private void begin(int to, int tokens, int layers) {
    runFrom = nextToken;
    runTo = to;
    tile = tokens;
    band = layers;
    token = runFrom;
    layer = 0;
    nextToken = to;
  }
}
