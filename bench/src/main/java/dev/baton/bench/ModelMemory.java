package dev.baton.bench;

import dev.baton.device.DType;
import dev.baton.device.KvShape;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Formats;
import dev.baton.engine.checkpoint.ModelConfig;

/** What a model takes of memory, counted from its shape. */
public final class ModelMemory {

  private ModelMemory() {}

  /**
   * Bytes of a KV pool over all ranks.
   *
   * @param stored dtype of the checkpoint
   */
  public static long kvBytes(ModelConfig config, DType stored, EngineOptions options, long blocks) {
    int ranks = options.tensorParallel();
    DType kv = Formats.choose(options, stored).kv();
    // More ranks than KV heads hold copies.
    int heads = Math.max(1, config.kvHeads() / ranks);
    KvShape block =
        new KvShape(config.layers(), 1, options.blockTokens(), 0, heads, config.headDim(), kv);
    return blocks * ranks * block.blockBytes();
  }

  /** Bytes of the packed matrices, the output layer among them, and of the embedding. */
  public static long weightBytes(ModelConfig config, Formats formats) {
    long embedding = (long) config.vocabularySize() * config.hiddenSize() * formats.dtype().bytes();
    return (long) Costs.of(config, formats).weightBytes() + embedding;
  }
}
