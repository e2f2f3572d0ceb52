package dev.baton.device.host;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.baton.device.KvShape;
import dev.baton.device.StepBatch;
import java.lang.foreign.MemorySegment;

/**
 * A {@link StepBatch} in host memory, as arrays of int32 that Java and C++ read alike. Values are
 * checked as they are added and their extremes kept, so that each op's check against its tensors
 * costs a few comparisons.
 */
public class HostStepBatch implements StepBatch {

  private final int maxTokens;
  private final int maxSequences;
  private final int maxBlocks;
  private final MemorySegment tokenIds;
  private final MemorySegment positions;
  private final MemorySegment sequenceOf;
  private final MemorySegment logitIndex;
  private final MemorySegment tables;
  private final int[] blockCounts;
  private final int[] lastPositions;

  private int tokens;
  private int sequences;
  private int logitRows;
  private int largestTokenId;
  private int largestPosition;
  private int largestBlock;
  private volatile boolean sealed;

  /** The block size that the tables were last found to be long enough for; 0 = none yet. */
  private volatile int coveredFor;

  /** Where the arrays come from. */
  public interface Memory {
    /** Memory that Java writes, aligned to 4 bytes. */
    MemorySegment allocate(long bytes, String what);
  }

  protected HostStepBatch(Memory memory, int maxTokens, int maxSequences, int maxBlocks) {
    if (maxTokens < 1 || maxSequences < 1 || maxBlocks < 1) {
      throw new IllegalArgumentException(
          "step batch: %d tokens, %d sequences, %d blocks (expected: each >= 1)"
              .formatted(maxTokens, maxSequences, maxBlocks));
    }
    this.maxTokens = maxTokens;
    this.maxSequences = maxSequences;
    this.maxBlocks = maxBlocks;
    String what = "step batch";
    tokenIds = memory.allocate(4L * maxTokens, what);
    positions = memory.allocate(4L * maxTokens, what);
    sequenceOf = memory.allocate(4L * maxTokens, what);
    logitIndex = memory.allocate(4L * maxTokens, what);
    tables = memory.allocate(4L * maxSequences * maxBlocks, what);
    blockCounts = new int[maxSequences];
    lastPositions = new int[maxSequences];
    begin();
  }

  @Override
  public final int maxTokens() {
    return maxTokens;
  }

  @Override
  public final int maxSequences() {
    return maxSequences;
  }

  @Override
  public final int maxBlocks() {
    return maxBlocks;
  }

  @Override
  public final void begin() {
    sealed = false;
    coveredFor = 0;
    tokens = 0;
    sequences = 0;
    logitRows = 0;
    largestTokenId = -1;
    largestPosition = -1;
    largestBlock = -1;
  }

  @Override
  public final void addSequence(int[] blockTable, int blocks) {
    requireOpen();
    if (sequences == maxSequences) {
      throw new IllegalStateException("sequences: full (expected: at most " + maxSequences + ")");
    }
    if (blocks < 0 || blocks > maxBlocks || blocks > blockTable.length) {
      throw new IllegalArgumentException(
          "blocks: %d (expected: 0 to %d)"
              .formatted(blocks, Math.min(maxBlocks, blockTable.length)));
    }
    for (int i = 0; i < blocks; i++) {
      if (blockTable[i] < 0) {
        throw new IllegalArgumentException(
            "blockTable[%d]: %d (expected: >= 0)".formatted(i, blockTable[i]));
      }
      largestBlock = Math.max(largestBlock, blockTable[i]);
    }
    MemorySegment.copy(blockTable, 0, tables, JAVA_INT, 4L * sequences * maxBlocks, blocks);
    blockCounts[sequences] = blocks;
    lastPositions[sequences] = -1;
    sequences++;
  }

  @Override
  public final void addToken(int tokenId, int position, boolean needsLogits) {
    requireOpen();
    if (sequences == 0) {
      throw new IllegalStateException("sequences: none (expected: addSequence before addToken)");
    }
    if (tokens == maxTokens) {
      throw new IllegalStateException("tokens: full (expected: at most " + maxTokens + ")");
    }
    if (tokenId < 0) {
      throw new IllegalArgumentException("tokenId: %d (expected: >= 0)".formatted(tokenId));
    }
    if (position <= lastPositions[sequences - 1]) {
      throw new IllegalArgumentException(
          "position: %d (expected: > %d, the sequence's last one)"
              .formatted(position, lastPositions[sequences - 1]));
    }
    tokenIds.setAtIndex(JAVA_INT, tokens, tokenId);
    positions.setAtIndex(JAVA_INT, tokens, position);
    sequenceOf.setAtIndex(JAVA_INT, tokens, sequences - 1);
    lastPositions[sequences - 1] = position;
    largestTokenId = Math.max(largestTokenId, tokenId);
    largestPosition = Math.max(largestPosition, position);
    if (needsLogits) {
      logitIndex.setAtIndex(JAVA_INT, logitRows++, tokens);
    }
    tokens++;
  }

  @Override
  public void seal() {
    sealed = true;
  }

  @Override
  public final int tokens() {
    return tokens;
  }

  @Override
  public final int sequences() {
    return sequences;
  }

  @Override
  public final int logitRows() {
    return logitRows;
  }

  /** Token ids {@code [tokens]}. */
  public final MemorySegment tokenIds() {
    return tokenIds;
  }

  /** Positions {@code [tokens]}. */
  public final MemorySegment positions() {
    return positions;
  }

  /** Sequence numbers {@code [tokens]}. */
  public final MemorySegment sequenceOf() {
    return sequenceOf;
  }

  /** Rows that need logits {@code [logitRows]}. */
  public final MemorySegment logitIndex() {
    return logitIndex;
  }

  /** Block tables {@code [sequences, maxBlocks]}. */
  public final MemorySegment tables() {
    return tables;
  }

  final int largestTokenId() {
    return largestTokenId;
  }

  /** -1 = no tokens. */
  public final int largestPosition() {
    return largestPosition;
  }

  /** Blocks of a sequence's table. */
  protected final int blockCount(int sequence) {
    return blockCounts[sequence];
  }

  final void requireSealed() {
    if (!sealed) {
      throw new IllegalStateException("step batch: open (expected: seal() before the step)");
    }
    if (!tokenIds.scope().isAlive()) {
      throw new IllegalStateException("step batch: its device is closed (expected: open)");
    }
  }

  /** Every position of every token lies in a block of its sequence that the cache has. */
  final void requireCovered(KvShape shape) {
    if (largestBlock >= shape.blocks()) {
      throw new IllegalArgumentException(
          "block: %d (expected: < %d, the cache's blocks)".formatted(largestBlock, shape.blocks()));
    }
    if (coveredFor == shape.blockTokens()) {
      return;
    }
    for (int s = 0; s < sequences; s++) {
      if (lastPositions[s] >= (long) blockCounts[s] * shape.blockTokens()) {
        throw new IllegalArgumentException(
            "position: %d of sequence %d (expected: < %d, what its %d blocks hold)"
                .formatted(
                    lastPositions[s],
                    s,
                    (long) blockCounts[s] * shape.blockTokens(),
                    blockCounts[s]));
      }
    }
    coveredFor = shape.blockTokens();
  }

  private void requireOpen() {
    if (sealed) {
      throw new IllegalStateException("step batch: sealed (expected: begin() before changes)");
    }
  }
}
