package dev.baton.simulation.model;

import dev.baton.device.DType;
import dev.baton.device.LogitScan;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.device.reference.ReferenceLogitScan;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.model.ModelRunner;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * A model whose logits are a hash of all tokens before, as they are found in its KV.
 *
 * <p>The key and the value of a token in each layer and head are {@link #HEAD_DIM} words: the
 * token, its position, and the hash of all tokens up to it in two halves, each mixed with layer,
 * head and side. A row of logits reads every word of its whole context through the block table and
 * hashes what it finds. So a block that belongs to another session, was freed too early, came in
 * the wrong order, from the wrong layer or not at all gives other tokens; nothing is checked and
 * nothing throws, as in a real model.
 *
 * <p>With a window a row of logits reads the words of the window only; the hash that the first of
 * them holds stands for what is before, as upper layers know what lower ones saw. So the tokens are
 * those of the model without one.
 */
public final class HashModel implements ModelRunner {

  public static final int VOCABULARY = 64;
  public static final int EOS = 2;
  public static final int CONTEXT_LENGTH = 256;

  private static final int LAYERS = 2;
  private static final int HEADS = 2;
  private static final int HEAD_DIM = 4;

  /** Places of a token: layer, key or value, head. */
  private static final int PLACES = LAYERS * 2 * HEADS;

  private static final int TOKEN_WORDS = PLACES * HEAD_DIM;

  /** What its workers tell of it. */
  public static final ModelInfo MODEL =
      new ModelInfo(
          "hash",
          "Hash",
          "f".repeat(64),
          CONTEXT_LENGTH,
          VOCABULARY,
          LAYERS,
          HEADS,
          HEAD_DIM,
          DType.FLOAT32,
          List.of(EOS));

  private static final int[] TAGS = new int[TOKEN_WORDS];

  static {
    for (int i = 0; i < TOKEN_WORDS; i++) {
      TAGS[i] = (int) TokenHash.mix(7, i);
    }
  }

  private final int blockTokens;
  private final int blocks;
  private final int window;
  private final long swapBytes;
  private final int logitRows;
  private final int[] kv;
  private final HashBatch batch;
  private final float[] logits;
  private final MemorySegment logitMemory;
  private final LogitScan scan = new ReferenceLogitScan();
  private final IntConsumer onStep;

  /**
   * @param window tokens that it sees back, 2 or more; 0 = all
   * @param onStep hears the number of tokens of every step
   */
  public HashModel(int blocks, EngineOptions options, int window, IntConsumer onStep) {
    this.window = window;
    this.blocks = blocks;
    this.blockTokens = options.blockTokens();
    this.swapBytes = Math.max(0, options.swapBytes());
    this.kv = new int[blocks * blockTokens * TOKEN_WORDS];
    this.batch =
        new HashBatch(
            options.stepTokens(), options.maxSessions(), Math.ceilDiv(CONTEXT_LENGTH, blockTokens));
    this.logitRows = options.maxSessions() + 3;
    this.logits = new float[logitRows * VOCABULARY];
    this.logitMemory = MemorySegment.ofArray(logits);
    this.onStep = onStep;
  }

  @Override
  public ModelInfo model() {
    return MODEL;
  }

  @Override
  public int blocks() {
    return blocks;
  }

  @Override
  public int blockTokens() {
    return blockTokens;
  }

  @Override
  public int window() {
    return window;
  }

  @Override
  public long swapBytes() {
    return swapBytes;
  }

  @Override
  public int logitRows() {
    return logitRows;
  }

  @Override
  public LogitScan logitScan() {
    return scan;
  }

  @Override
  public StepBatch batch() {
    return batch;
  }

  @Override
  public MemorySegment run() {
    onStep.accept(batch.tokens());
    int row = 0;
    for (int i = 0; i < batch.tokens(); i++) {
      int[] table = batch.table(i);
      int position = batch.positions[i];
      store(table, position, batch.ids[i]);
      if (batch.logits[i]) {
        TokenHash.logits(read(table, position), logits, row++ * VOCABULARY, VOCABULARY);
      }
    }
    return logitMemory;
  }

  private void store(int[] table, int position, int token) {
    long before = TokenHash.EMPTY;
    if (position > 0) {
      before = held(slot(table, position - 1));
    }
    long hash = TokenHash.mix(before, token);
    int slot = slot(table, position);
    for (int place = 0; place < TOKEN_WORDS; place += HEAD_DIM) {
      kv[slot + place] = token ^ TAGS[place];
      kv[slot + place + 1] = position ^ TAGS[place + 1];
      kv[slot + place + 2] = (int) (hash >>> 32) ^ TAGS[place + 2];
      kv[slot + place + 3] = (int) hash ^ TAGS[place + 3];
    }
  }

  /** The hash that a position holds, as its first place says. */
  private long held(int slot) {
    return (long) (kv[slot + 2] ^ TAGS[2]) << 32 | ((kv[slot + 3] ^ TAGS[3]) & 0xFFFFFFFFL);
  }

  /** The hash of the tokens up to {@code last}, as found; of whatever is wrong, another one. */
  private long read(int[] table, int last) {
    long hash = TokenHash.EMPTY;
    int first = window == 0 ? 0 : Math.max(0, last - window + 1);
    for (int position = first; position <= last; position++) {
      int slot = slot(table, position);
      int token = kv[slot] ^ TAGS[0];
      hash = position == first && first > 0 ? held(slot) : TokenHash.mix(hash, token);
      int high = (int) (hash >>> 32);
      int low = (int) hash;
      int wrong = 0;
      for (int place = 0; place < TOKEN_WORDS; place += HEAD_DIM) {
        wrong |= kv[slot + place] ^ TAGS[place] ^ token;
        wrong |= kv[slot + place + 1] ^ TAGS[place + 1] ^ position;
        wrong |= kv[slot + place + 2] ^ TAGS[place + 2] ^ high;
        wrong |= kv[slot + place + 3] ^ TAGS[place + 3] ^ low;
      }
      if (wrong != 0) {
        hash = TokenHash.mix(hash, wrong);
      }
    }
    return hash;
  }

  @Override
  public void packKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
    copy(blockTable, region, slab, true);
  }

  @Override
  public void unpackKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
    copy(blockTable, region, slab, false);
  }

  /**
   * The slab is {@code [layer][k|v][head][token][dim]}, the cache {@code [token][layer][k|v]...}.
   */
  private void copy(int[] table, SlabRegion region, MemorySegment slab, boolean out) {
    long at = 0;
    for (int layer = region.layerFrom(); layer < region.layerTo(); layer++) {
      for (int side = 0; side < 2; side++) {
        for (int head = region.headFrom(); head < region.headTo(); head++) {
          int place = ((layer * 2 + side) * HEADS + head) * HEAD_DIM;
          for (int token = region.tokenFrom(); token < region.tokenTo(); token++) {
            int slot = slot(table, token) + place;
            long bytes = HEAD_DIM * Integer.BYTES;
            if (out) {
              MemorySegment.copy(kv, slot, slab, ValueLayout.JAVA_INT, at, HEAD_DIM);
            } else {
              MemorySegment.copy(slab, ValueLayout.JAVA_INT, at, kv, slot, HEAD_DIM);
            }
            at += bytes;
          }
        }
      }
    }
  }

  private int slot(int[] table, int position) {
    return (table[position / blockTokens] * blockTokens + position % blockTokens) * TOKEN_WORDS;
  }

  @Override
  public void close() {
    // All on the heap.
  }
}
