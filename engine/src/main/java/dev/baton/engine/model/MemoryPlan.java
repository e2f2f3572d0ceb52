package dev.baton.engine.model;

import dev.baton.device.DType;
import dev.baton.device.KvShape;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Formats;
import dev.baton.engine.cache.Window;
import dev.baton.engine.checkpoint.ModelConfig;

/**
 * What a replica will take, in bytes over all ranks, decided before anything is allocated.
 *
 * @param weights packed weights, embedding and rotary tables
 * @param activations working memory of the largest step, logits included
 * @param kv KV blocks
 * @param blocks KV blocks of the pool
 * @param contextLength most tokens of a session: as asked for, or the model's, or what fits
 * @param logitRows most rows of a step that get logits
 * @param swap host memory for the KV of preempted sessions, taken only when it is needed
 * @param available what the process could take before loading
 */
record MemoryPlan(
    long weights,
    long activations,
    long kv,
    int blocks,
    int contextLength,
    int logitRows,
    long swap,
    long available) {

  /** Of the memory left beside weights and activations, what KV takes when nobody says how much. */
  private static final int KV_SHARE_PERCENT = 25;

  /** What KV takes at most when one session of the model's own context needs more than that. */
  private static final int ONE_SESSION_PERCENT = 50;

  /** Of the memory left beside all that, what swap space takes when nobody says how much. */
  private static final int SWAP_SHARE_PERCENT = 15;

  /** Kept free for the Java heap, code and thread stacks; not planned with. */
  private static final long RESERVE = 256L << 20;

  /** Rows of logits of a step beside one per session, for prompts whose tokens are scored. */
  private static final int SCORED_ROWS = 32;

  /**
   * A context length that was asked for fits or is refused; the model's own is cut to what fits.
   * Throws NO_CAPACITY when memory is too small, INVALID when kvCacheBytes is, with the sums and
   * the largest context that fits.
   *
   * @param contextLength asked for, or the model's
   */
  static MemoryPlan make(
      ModelConfig config,
      EngineOptions options,
      int contextLength,
      Formats formats,
      long available) {
    int ranks = options.tensorParallel();
    int logitRows = Math.min(options.stepTokens(), options.maxSessions() + SCORED_ROWS);
    long weights =
        WeightLoader.bytes(config, ranks, formats) + RotaryTable.bytes(config, contextLength);
    long activations = (long) logitRows * config.vocabularySize() * Float.BYTES;
    long blockBytes = 0;
    for (int rank = 0; rank < ranks; rank++) {
      Shard shard = new Shard(config, rank, ranks);
      activations += Activations.bytes(shard, options.stepTokens(), logitRows);
      blockBytes += kvShape(shard, options, 1, formats.kv()).blockBytes();
    }
    Window window = new Window(window(config), options.blockTokens(), options.stepTokens());
    long whole = Math.ceilDiv(contextLength, options.blockTokens());
    long oneSession = Math.min(window.mostBlocks(), whole) * blockBytes;
    long room = Math.max(0, available - RESERVE - weights - activations);
    boolean asked = options.contextLength() > 0;
    long kv = options.kvCacheBytes();
    if (kv == 0) {
      long least = asked ? oneSession : Math.min(oneSession, room / 100 * ONE_SESSION_PERCENT);
      long share = room / 100 * KV_SHARE_PERCENT;
      kv = Math.max(least, Math.min(share, oneSession * options.maxSessions()));
    }
    if (kv > room || room < blockBytes) {
      throw new EngineException(
          EngineException.Kind.NO_CAPACITY,
          "memory: weights %s + activations %s + KV %s = %s (expected: <= %s available; one session of %d tokens needs KV of %s, and %d tokens are the most that fit: a smaller contextLength, kvCacheBytes or stepTokens helps)"
              .formatted(
                  size(weights),
                  size(activations),
                  size(Math.max(kv, blockBytes)),
                  size(weights + activations + Math.max(kv, blockBytes)),
                  size(Math.max(0, available - RESERVE)),
                  contextLength,
                  size(oneSession),
                  tokens(room, blockBytes, options)));
    }
    int fits = tokens(kv, blockBytes, options);
    if (kv < oneSession && (asked || fits == 0)) {
      throw new EngineException(
          EngineException.Kind.INVALID,
          "kvCacheBytes: %d (expected: >= %d, one session of %d tokens; or a contextLength of at most %d)"
              .formatted(kv, fits == 0 ? blockBytes : oneSession, contextLength, fits));
    }
    int context = kv < oneSession ? Math.min(contextLength, fits) : contextLength;
    int blocks = (int) Math.min(Integer.MAX_VALUE, kv / blockBytes);
    long taken = blocks * blockBytes;
    long swap = options.swapBytes();
    if (swap == EngineOptions.AUTO) {
      swap = Math.min(taken, Math.max(0, room - taken) / 100 * SWAP_SHARE_PERCENT);
    }
    return new MemoryPlan(weights, activations, taken, blocks, context, logitRows, swap, available);
  }

  private static int tokens(long bytes, long blockBytes, EngineOptions options) {
    return (int) Math.min(Integer.MAX_VALUE, bytes / blockBytes * options.blockTokens());
  }

  /** Positions that every layer sees back; 0 = one or more see all. Never less than two. */
  static int window(ModelConfig config) {
    int largest = 2;
    for (int window : config.windows()) {
      if (window == 0) {
        return 0;
      }
      largest = Math.max(largest, window);
    }
    return largest;
  }

  /** Blocks that a session of full length has places for. */
  int sessionBlocks(int blockTokens) {
    return Math.ceilDiv(contextLength, blockTokens);
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
    return "weights %s, activations %s, KV %s in %d blocks, swap space up to %s, available before loading %s"
        .formatted(size(weights), size(activations), size(kv), blocks, size(swap), size(available));
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
