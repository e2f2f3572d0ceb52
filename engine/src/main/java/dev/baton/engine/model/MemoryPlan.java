package dev.baton.engine.model;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.DeviceMemory;
import dev.baton.device.KvShape;
import dev.baton.device.StepShape;
import dev.baton.device.host.MachineMemory;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Formats;
import dev.baton.engine.cache.Window;
import dev.baton.engine.checkpoint.Mixture;
import dev.baton.engine.checkpoint.ModelConfig;

/**
 * What a replica will take, in bytes over all ranks, decided before anything is allocated.
 *
 * @param weights packed weights, embedding and rotary tables
 * @param activations working memory of the largest step, logits included
 * @param workspace what a device's operations take beside, where it plans that ahead
 * @param kv KV blocks
 * @param blocks KV blocks of the pool
 * @param contextLength most tokens of a session: as asked for, or the model's, or what fits
 * @param logitRows most rows of a step that get logits
 * @param swap host memory for the KV of preempted sessions, taken only when it is needed
 * @param memory what there was before loading
 */
record MemoryPlan(
    long weights,
    long activations,
    long workspace,
    long kv,
    int blocks,
    int contextLength,
    int logitRows,
    long swap,
    DeviceMemory memory) {

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
      Device device,
      DeviceMemory memory) {
    long workspace = 0;
    for (int rank = 0; rank < options.tensorParallel(); rank++) {
      Shard shard = new Shard(config, rank, options.tensorParallel());
      workspace += device.workspaceBytes(stepShape(shard, options, contextLength));
    }
    return make(config, options, contextLength, formats, memory, workspace);
  }

  /**
   * @param workspace over all ranks
   */
  static MemoryPlan make(
      ModelConfig config,
      EngineOptions options,
      int contextLength,
      Formats formats,
      DeviceMemory memory,
      long workspace) {
    int ranks = options.tensorParallel();
    int logitRows = Math.min(options.stepTokens(), options.maxSessions() + SCORED_ROWS);
    long weights =
        WeightLoader.bytes(config, ranks, formats)
            + (memory.copies() - 1) * WeightLoader.sharedBytes(config, formats)
            + memory.copies() * RotaryTable.bytes(config, contextLength);
    // Only the first rank has the logits of all, but every rank's share must hold them.
    long activations = (long) memory.copies() * logitRows * config.vocabularySize() * Float.BYTES;
    long blockBytes = 0;
    for (int rank = 0; rank < ranks; rank++) {
      Shard shard = new Shard(config, rank, ranks);
      activations += Activations.bytes(shard, options.stepTokens(), logitRows);
      blockBytes += kvShape(shard, options, 1, formats.kv()).blockBytes();
    }
    Window window = new Window(window(config), options.blockTokens(), options.stepTokens());
    long whole = Math.ceilDiv(contextLength, options.blockTokens());
    long oneSession = Math.min(window.mostBlocks(), whole) * blockBytes;
    long available = Math.max(0, memory.available() - (memory.separate() ? 0 : RESERVE));
    long room = Math.max(0, available - weights - activations - workspace);
    boolean asked = options.contextLength() > 0;
    long kv = options.kvCacheBytes();
    if (kv == 0) {
      long least = asked ? oneSession : Math.min(oneSession, room / 100 * ONE_SESSION_PERCENT);
      long share = room / 100 * KV_SHARE_PERCENT;
      kv =
          memory.separate()
              ? room
              : Math.max(least, Math.min(share, oneSession * options.maxSessions()));
    }
    if (kv > room || room < blockBytes) {
      throw new EngineException(
          EngineException.Kind.NO_CAPACITY,
          "memory: weights %s + activations %s%s + KV %s = %s (expected: <= %s available; one session of %d tokens needs KV of %s, and %d tokens are the most that fit: a smaller contextLength, kvCacheBytes or stepTokens helps)"
              .formatted(
                  size(weights),
                  size(activations),
                  workspace == 0 ? "" : " + workspace " + size(workspace),
                  size(Math.max(kv, blockBytes)),
                  size(weights + activations + workspace + Math.max(kv, blockBytes)),
                  size(available),
                  contextLength,
                  size(oneSession),
                  tokens(room, blockBytes, options)));
    }
    int fits = tokens(kv, blockBytes, options);
    if (fits == 0) {
      throw new EngineException(
          EngineException.Kind.INVALID,
          "kvCacheBytes: %d (expected: >= %d, one block of %d tokens; one session of %d needs %d)"
              .formatted(kv, blockBytes, options.blockTokens(), contextLength, oneSession));
    }
    if (kv < oneSession && asked) {
      throw new EngineException(
          EngineException.Kind.INVALID,
          "kvCacheBytes: %d (expected: >= %d, one session of %d tokens; or a contextLength of at most %d)"
              .formatted(kv, oneSession, contextLength, fits));
    }
    int context = kv < oneSession ? Math.min(contextLength, fits) : contextLength;
    int blocks = (int) Math.min(Integer.MAX_VALUE, kv / blockBytes);
    long taken = blocks * blockBytes;
    long swap = options.swapBytes();
    if (swap == EngineOptions.AUTO) {
      long host = memory.separate() ? MachineMemory.available() - RESERVE : room - taken;
      swap = Math.min(taken, Math.max(0, host) / 100 * SWAP_SHARE_PERCENT);
    }
    return new MemoryPlan(
        weights, activations, workspace, taken, blocks, context, logitRows, swap, memory);
  }

  /** How large the steps of a rank become. */
  StepShape stepShape(Shard shard, EngineOptions options) {
    return stepShape(shard, options, contextLength);
  }

  private static StepShape stepShape(Shard shard, EngineOptions options, int contextLength) {
    ModelConfig config = shard.config();
    Mixture mixture = config.mixture();
    int inner = shard.inner().size();
    int hidden = config.hiddenSize();
    int queries = shard.queries().size();
    return new StepShape(
        options.stepTokens(),
        Math.min(options.stepTokens(), options.maxSessions()),
        Math.ceilDiv(contextLength, options.blockTokens()),
        options.blockTokens(),
        Math.min(options.stepTokens(), options.maxSessions() + SCORED_ROWS),
        hidden,
        shard.heads(),
        config.headDim(),
        Math.max(hidden, Math.max(queries, inner)),
        mixture == null ? 0 : Math.max(hidden, shard.expertInner().size()),
        mixture == null ? 0 : mixture.chosen(),
        Math.max(Math.max(hidden, queries), 2 * inner));
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
    return "weights %s, activations %s%s, KV %s in %d blocks, swap space up to %s, available before loading %s"
        .formatted(
            size(weights),
            size(activations),
            workspace == 0 ? "" : ", workspace " + size(workspace),
            size(kv),
            blocks,
            size(swap),
            size(memory.available()));
  }

  /** For the log at start: a line, or where the device has memory of its own a table. */
  String table() {
    if (!memory.separate()) {
      return toString();
    }
    long sum = weights + activations + workspace + kv;
    return """
    of %d GPU(s), over all ranks
      weights      %12s  norms, embedding and rotary tables on each rank
      activations  %12s  of the largest step, logits included
      workspace    %12s  inputs in bfloat16, partial sums, staging
      KV           %12s  %d blocks
      sum          %12s
      left over    %12s  of %s that may be taken
      swap space up to %s of host memory\
    """
        .formatted(
            memory.copies(),
            size(weights),
            size(activations),
            size(workspace),
            size(kv),
            blocks,
            size(sum),
            size(memory.available() - sum),
            size(memory.available()),
            size(swap));
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
