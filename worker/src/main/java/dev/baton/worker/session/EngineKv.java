package dev.baton.worker.session;

import dev.baton.device.DType;
import dev.baton.device.SlabRegion;
import dev.baton.engine.KvPreemptedException;
import dev.baton.engine.KvView;
import dev.baton.engine.ModelInfo;
import dev.baton.kvtransfer.KvAwayException;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvSource;
import dev.baton.kvtransfer.SlabRange;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A session's blocks as the transfer sees them: the same ranges, for all KV heads of the model, in
 * the dtype of the importer. Opened on the step thread once the engine has blocks for the session,
 * before the transfer is told of any token; then read on the transfer's threads, until the
 * session's release.
 */
public final class EngineKv implements KvSource, KvSink {

  private final ModelInfo model;
  private final DType dtype;
  private final boolean comesBack;
  private volatile @Nullable KvView view;

  /** In the model's own dtype. */
  public EngineKv(ModelInfo model) {
    this(model, model.kvDtype());
  }

  /**
   * @param dtype on the wire; packing and unpacking convert where the model's own is another
   */
  public EngineKv(ModelInfo model, DType dtype) {
    this(model, dtype, false);
  }

  private EngineKv(ModelInfo model, DType dtype, boolean comesBack) {
    this.model = model;
    this.dtype = dtype;
    this.comesBack = comesBack;
  }

  /** Of a session whose blocks are opened anew whenever it goes on after a preemption. */
  public static EngineKv reopened(ModelInfo model, DType dtype) {
    return new EngineKv(model, dtype, true);
  }

  /** Size of the model's KV on the wire. */
  public KvGeometry geometry() {
    return new KvGeometry(model.layers(), model.kvHeads(), model.headDim(), dtype.bytes());
  }

  /** Step thread. */
  public void open(KvView blocks) {
    view = blocks;
  }

  /**
   * Of blocks that are opened later nobody has to know it: theirs is the ticket's, or before it.
   */
  @Override
  public int firstToken() {
    KvView blocks = view;
    return blocks == null ? 0 : blocks.firstToken();
  }

  @Override
  public void pack(SlabRange range, MemorySegment slab) {
    try {
      opened().pack(region(range), slab);
    } catch (KvPreemptedException e) {
      throw comesBack ? new KvAwayException("kv: preempted", e) : e;
    }
  }

  @Override
  public void unpack(SlabRange range, MemorySegment slab) {
    opened().unpack(region(range), slab);
  }

  private KvView opened() {
    KvView blocks = view;
    if (blocks == null) {
      throw new IllegalStateException("blocks: none yet (expected: opened before the transfer)");
    }
    return blocks;
  }

  private SlabRegion region(SlabRange range) {
    return new SlabRegion(
        range.layerFrom(),
        range.layerTo(),
        0,
        model.kvHeads(),
        range.tokenFrom(),
        range.tokenTo(),
        model.headDim(),
        dtype);
  }
}
