package dev.baton.engine;

import dev.baton.device.DType;
import dev.baton.device.SlabRegion;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Carries a session's KV from the engine that computes its prompt to the one that decodes, as it is
 * computed, in slabs of two layers, and starts the importer.
 */
final class HandOff implements SessionListener {

  private final Engine exporter;
  private final Engine importer;
  private final Arena arena;
  private final Generation request;
  private final List<SampledToken> tokens;
  private int carried;

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
    ModelInfo model = exporter.model();
    DType dtype = model.kvDtype();
    for (int layer = 0; carried < computed && layer < model.layers(); layer += 2) {
      int layerTo = Math.min(layer + 2, model.layers());
      SlabRegion region =
          new SlabRegion(
              layer, layerTo, 0, model.kvHeads(), carried, computed, model.headDim(), dtype);
      MemorySegment slab = arena.allocate(region.bytes());
      exporter.kv(request.session()).pack(region, slab);
      importer.kv(request.session()).unpack(region, slab);
    }
    carried = Math.max(carried, computed);
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
