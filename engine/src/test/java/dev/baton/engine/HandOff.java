package dev.baton.engine;

import dev.baton.device.DType;
import dev.baton.device.SlabRegion;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Carries a session's KV from the engine that computes its prompt to the one that decodes, as it is
 * computed, layer by layer where the engine tells of them, else in slabs of two layers, and starts
 * the importer.
 */
final class HandOff implements SessionListener {

  private final Engine exporter;
  private final Engine importer;
  private final Arena arena;
  private final Generation request;
  private final List<SampledToken> tokens;
  private int carried;
  private int carriedLayers;
  private boolean told;

  /**
   * @param present tokens whose KV the importer has already
   * @param tokens gets the first token
   */
  HandOff(
      Engine exporter,
      Engine importer,
      Arena arena,
      Generation request,
      int present,
      List<SampledToken> tokens) {
    this.exporter = exporter;
    this.importer = importer;
    this.arena = arena;
    this.request = request;
    this.carried = present;
    this.tokens = tokens;
  }

  @Override
  public void onComputed(int computed) {
    int layers = exporter.model().layers();
    for (int layer = 0; !told && carried < computed && layer < layers; layer += 2) {
      carry(layer, Math.min(layer + 2, layers), computed);
    }
    if (told && carried < computed && carriedLayers != layers) {
      throw new AssertionError("layers that left during the step: " + carriedLayers);
    }
    carried = Math.max(carried, computed);
    carriedLayers = 0;
  }

  @Override
  public void onComputed(int layers, int tokens) {
    told = true;
    if (carried < tokens) {
      carry(carriedLayers, layers, tokens);
      carriedLayers = layers;
    }
  }

  private void carry(int layerFrom, int layerTo, int tokens) {
    ModelInfo model = exporter.model();
    DType dtype = model.kvDtype();
    SlabRegion region =
        new SlabRegion(
            layerFrom, layerTo, 0, model.kvHeads(), carried, tokens, model.headDim(), dtype);
    MemorySegment slab = arena.allocate(region.bytes());
    exporter.kv(request.session()).pack(region, slab);
    importer.kv(request.session()).unpack(region, slab);
  }

  @Override
  public void onToken(SampledToken token) {
    exporter.release(request.session());
    tokens.add(token);
    importer.start(request.session(), token.id());
  }

  @Override
  public void onFailed(EngineException cause) {
    throw cause;
  }
}
