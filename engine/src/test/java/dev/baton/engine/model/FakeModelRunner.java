package dev.baton.engine.model;

import dev.baton.device.DType;
import dev.baton.device.LogitScan;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.device.reference.ReferenceLogitScan;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Generation;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.sample.Adjustments;
import dev.baton.engine.sample.Sampler;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntPredicate;

/**
 * A model whose logits are a hash of all tokens before. Its KV is two numbers per position, the
 * token and the position; a step reads all of them through the block table, so a block that belongs
 * to another session, was freed too early or came in the wrong order gives other tokens or fails.
 */
public final class FakeModelRunner implements ModelRunner {

  public static final int VOCABULARY = 97;
  public static final int EOS = 2;
  private static final int HEAD_DIM = 2;
  private static final int EMPTY = -1;

  private final ModelInfo model;
  private final int blockTokens;
  private final int window;
  private final long swapBytes;
  private final int[] kvTokens;
  private final int[] kvPositions;
  private final FakeStepBatch batch;
  private final int logitRows;

  /** Steps run, for tests. */
  public final List<StepSummary> steps = new ArrayList<>();

  /** Set to fail the next run. */
  public boolean failing;

  /** Rows for which it answers NaN, by the last token of the context. */
  public IntPredicate unusable = _ -> false;

  public boolean closed;

  /** What it says to have drawn. */
  public volatile double joules = -1;

  public long weightBytes;

  /** Called when a step begins. */
  public Runnable beforeRun = () -> {};

  /** Called when KV is copied between blocks and host memory. */
  public Runnable beforeCopy = () -> {};

  /** Tokens per sequence of one step. */
  public record StepSummary(List<Integer> tokens) {
    public int total() {
      return tokens.stream().mapToInt(Integer::intValue).sum();
    }
  }

  public FakeModelRunner(int blocks, EngineOptions options, int contextLength) {
    this(blocks, options, contextLength, 0);
  }

  /**
   * @param window tokens that its logits depend on; 0 = all
   */
  public FakeModelRunner(int blocks, EngineOptions options, int contextLength, int window) {
    this.window = window;
    this.swapBytes = Math.max(0, options.swapBytes());
    this.blockTokens = options.blockTokens();
    this.kvTokens = new int[blocks * blockTokens];
    this.kvPositions = new int[blocks * blockTokens];
    Arrays.fill(kvPositions, EMPTY);
    this.batch =
        new FakeStepBatch(
            options.stepTokens(), options.maxSessions(), Math.ceilDiv(contextLength, blockTokens));
    // Few beside the sessions' own, so that prompts are scored in small chunks.
    this.logitRows = Math.min(options.stepTokens(), options.maxSessions() + 3);
    this.model =
        new ModelInfo(
            "fake",
            "Fake",
            "f".repeat(64),
            contextLength,
            VOCABULARY,
            1,
            1,
            HEAD_DIM,
            DType.FLOAT32,
            List.of(EOS));
  }

  /**
   * The tokens that a plain run, one token after the other, generates; stops as the engine must.
   */
  public static List<Integer> plainRun(Generation generation, int contextLength) {
    return plainRun(generation, contextLength, 0);
  }

  /** As above, of a model that looks back over a window. */
  public static List<Integer> plainRun(Generation generation, int contextLength, int window) {
    int[] tokens = Arrays.copyOf(generation.prompt(), contextLength);
    int length = generation.prompt().length;
    List<Integer> generated = new ArrayList<>();
    Sampler sampler = new Sampler(new ReferenceLogitScan(), VOCABULARY, 1);
    Adjustments adjustments = Adjustments.of(generation.sampling(), length, List.of(EOS));
    while (true) {
      long hash = 0;
      for (int i = window == 0 ? 0 : Math.max(0, length - window); i < length; i++) {
        hash = mix(hash, tokens[i]);
      }
      sampler.begin();
      sampler.draw(generation.sampling(), adjustments, tokens, length, generated.size());
      sampler.run(MemorySegment.ofArray(logits(hash)));
      int next = sampler.token(0);
      generated.add(next);
      tokens[length++] = next;
      boolean stop =
          (next == EOS && !generation.sampling().ignoreEos())
              || generation.sampling().stopTokenIds().contains(next);
      if (stop
          || generated.size() == generation.sampling().maxTokens()
          || length == contextLength) {
        return generated;
      }
    }
  }

  @Override
  public ModelInfo model() {
    return model;
  }

  @Override
  public int blocks() {
    return kvTokens.length / blockTokens;
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
    return new ReferenceLogitScan();
  }

  @Override
  public StepBatch batch() {
    return batch;
  }

  @Override
  public double joules() {
    return joules;
  }

  @Override
  public long weightBytes() {
    return weightBytes;
  }

  @Override
  public MemorySegment run() {
    beforeRun.run();
    if (failing) {
      throw new IllegalStateException("device: lost");
    }
    if (!batch.sealed || batch.tokens() == 0) {
      throw new IllegalStateException("batch: not sealed or empty");
    }
    if (batch.logitRows() > logitRows) {
      throw new IllegalStateException(
          "logit rows: %d of %d".formatted(batch.logitRows(), logitRows));
    }
    MemorySegment logits =
        Arena.ofAuto().allocate(ValueLayout.JAVA_FLOAT, (long) batch.logitRows() * VOCABULARY);
    int[] perSequence = new int[batch.sequences()];
    int row = 0;
    for (FakeStepBatch.Token token : batch.tokens) {
      perSequence[token.sequence()]++;
      int[] table = batch.tables.get(token.sequence());
      int slot = slot(table, token.position());
      kvTokens[slot] = token.id();
      kvPositions[slot] = token.position();
      if (token.needsLogits()) {
        float[] values = logits(hash(table, token.position()));
        if (unusable.test(token.id())) {
          values[5] = Float.NaN;
        }
        MemorySegment.copy(
            values,
            0,
            logits,
            ValueLayout.JAVA_FLOAT,
            (long) row++ * VOCABULARY * Float.BYTES,
            VOCABULARY);
      }
    }
    steps.add(new StepSummary(Arrays.stream(perSequence).boxed().toList()));
    return logits;
  }

  @Override
  public void packKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
    beforeCopy.run();
    int count = region.tokenTo() - region.tokenFrom();
    for (int i = 0; i < count; i++) {
      int slot = slot(blockTable, region.tokenFrom() + i);
      slab.setAtIndex(ValueLayout.JAVA_FLOAT, 2L * i, kvTokens[slot]);
      slab.setAtIndex(ValueLayout.JAVA_FLOAT, 2L * i + 1, kvPositions[slot]);
    }
  }

  @Override
  public void unpackKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
    beforeCopy.run();
    int count = region.tokenTo() - region.tokenFrom();
    for (int i = 0; i < count; i++) {
      int slot = slot(blockTable, region.tokenFrom() + i);
      kvTokens[slot] = (int) slab.getAtIndex(ValueLayout.JAVA_FLOAT, 2L * i);
      kvPositions[slot] = (int) slab.getAtIndex(ValueLayout.JAVA_FLOAT, 2L * i + 1);
    }
  }

  @Override
  public void close() {
    closed = true;
  }

  /** A slab region of tokens {@code [from, to)}. */
  public static SlabRegion region(int from, int to) {
    return new SlabRegion(0, 1, 0, 1, from, to, HEAD_DIM, DType.FLOAT32);
  }

  private long hash(int[] table, int lastPosition) {
    long hash = 0;
    int first = window == 0 ? 0 : Math.max(0, lastPosition + 1 - window);
    for (int position = first; position <= lastPosition; position++) {
      int slot = slot(table, position);
      if (kvPositions[slot] != position) {
        throw new IllegalStateException(
            "KV of position %d in block %d is of position %d"
                .formatted(position, table[position / blockTokens], kvPositions[slot]));
      }
      hash = mix(hash, kvTokens[slot]);
    }
    return hash;
  }

  private int slot(int[] table, int position) {
    return table[position / blockTokens] * blockTokens + position % blockTokens;
  }

  private static float[] logits(long hash) {
    float[] values = new float[VOCABULARY];
    for (int id = 0; id < VOCABULARY; id++) {
      // Steps of 1/4, so that ties happen.
      values[id] = (mix(hash, id) >>> 59) / 4f;
    }
    return values;
  }

  private static long mix(long hash, int value) {
    long mixed = (hash + value + 1) * 0x9E3779B97F4A7C15L;
    mixed = (mixed ^ mixed >>> 32) * 0xD6E8FEB86659FD93L;
    return mixed ^ mixed >>> 29;
  }
}
