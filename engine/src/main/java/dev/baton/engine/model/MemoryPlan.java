package dev.baton.engine.model;

import dev.baton.device.DType;
import dev.baton.device.KvShape;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Formats;
import dev.baton.engine.checkpoint.ModelConfig;

/**
 * What a replica will take, in bytes over all ranks, decided before anything is allocated.
 *
 * @param weights packed weights, embedding and rotary tables
 * @param activations working memory of the largest step, logits included
 * @param kv KV blocks
 * @param blocks KV blocks of the pool
 * @param sessionBlocks blocks of one session of full length
 * @param logitRows most rows of a step that get logits
 * @param available what the process could take before loading
 */
record MemoryPlan(
    long weights,
    long activations,
    long kv,
    int blocks,
    int sessionBlocks,
    int logitRows,
    long available) {

  /** Of the memory left beside weights and activations, what KV takes when nobody says how much. */
  private static final int KV_SHARE_PERCENT = 25;

  /** Kept free for the Java heap, code and thread stacks; not planned with. */
  private static final long RESERVE = 256L << 20;

  /** Throws NO_CAPACITY when it does not fit, INVALID when kvCacheBytes holds no whole session. */
  static MemoryPlan make(
      ModelConfig config,
      EngineOptions options,
      int contextLength,
      Formats formats,
      long available) {
    int ranks = options.tensorParallel();
    int logitRows = Math.min(options.stepTokens(), options.maxSessions());
    long weights =
        WeightLoader.bytes(config, ranks, formats) + RotaryTable.bytes(config, contextLength);
    long activations = (long) logitRows * config.vocabularySize() * Float.BYTES;
    long blockBytes = 0;
    for (int rank = 0; rank < ranks; rank++) {
      Shard shard = new Shard(config, rank, ranks);
      activations += Activations.bytes(shard, options.stepTokens(), logitRows);
      blockBytes += kvShape(shard, options, 1, formats.kv()).blockBytes();
    }
    int sessionBlocks = Math.ceilDiv(contextLength, options.blockTokens());
    long oneSession = sessionBlocks * blockBytes;
    long fixed = weights + activations;
    if (options.kvCacheBytes() > 0 && options.kvCacheBytes() < oneSession) {
      throw new EngineException(
          EngineException.Kind.INVALID,
          "kvCacheBytes: %d (expected: >= %d, one session of %d tokens; or a smaller contextLength)"
              .formatted(options.kvCacheBytes(), oneSession, contextLength));
    }
    long wanted = options.kvCacheBytes();
    if (wanted == 0) {
      long share = Math.max(0, available - RESERVE - fixed) / 100 * KV_SHARE_PERCENT;
      wanted = Math.max(oneSession, Math.min(share, oneSession * options.maxSessions()));
    }
    if (wanted > available - RESERVE - fixed) {
      throw new EngineException(
          EngineException.Kind.NO_CAPACITY,
          "memory: weights %s + activations %s + KV %s = %s (expected: <= %s available; one session of %d tokens needs KV of %s: a smaller contextLength, kvCacheBytes or stepTokens helps)"
              .formatted(
                  size(weights),
                  size(activations),
                  size(wanted),
                  size(fixed + wanted),
                  size(Math.max(0, available - RESERVE)),
                  contextLength,
                  size(oneSession)));
    }
    int blocks = (int) Math.min(Integer.MAX_VALUE, wanted / blockBytes);
    return new MemoryPlan(
        weights, activations, blocks * blockBytes, blocks, sessionBlocks, logitRows, available);
  }

  static KvShape kvShape(Shard shard, EngineOptions options, int blocks, DType kvDtype) {
    return new KvShape(
        shard.config().layers(),
        blocks,
        options.blockTokens(),
        shard.kvHeadFrom(),
        shard.kvHeads(),
        shard.config().headDim(),
        kvDtype);
  }

  @Override
  public String toString() {
    return "weights %s, activations %s, KV %s in %d blocks, available before loading %s"
        .formatted(size(weights), size(activations), size(kv), blocks, size(available));
  }

  /** For people: three digits or so, in a unit that suits. */
  static String size(long bytes) {
    if (bytes < 10 << 10) {
      return bytes + " bytes";
    }
    if (bytes < 10 << 20) {
      return "%.1f KiB".formatted(bytes / 1024.0);
    }
    if (bytes < 10L << 30) {
      return "%.1f MiB".formatted(bytes / 1048576.0);
    }
    return "%.1f GiB".formatted(bytes / 1073741824.0);
  }
}
