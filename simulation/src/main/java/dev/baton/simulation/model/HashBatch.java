package dev.baton.simulation.model;

import dev.baton.device.StepBatch;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** A step's batch as {@link HashModel} reads it. */
final class HashBatch implements StepBatch {

  private final int maxTokens;
  private final int maxSequences;
  private final int maxBlocks;
  private final List<int[]> tables = new ArrayList<>();
  final int[] ids;
  final int[] positions;
  final int[] sequences;
  final boolean[] logits;
  private int tokens;
  private int rows;

  HashBatch(int maxTokens, int maxSequences, int maxBlocks) {
    this.maxTokens = maxTokens;
    this.maxSequences = maxSequences;
    this.maxBlocks = maxBlocks;
    this.ids = new int[maxTokens];
    this.positions = new int[maxTokens];
    this.sequences = new int[maxTokens];
    this.logits = new boolean[maxTokens];
  }

  int[] table(int token) {
    return tables.get(sequences[token]);
  }

  @Override
  public int maxTokens() {
    return maxTokens;
  }

  @Override
  public int maxSequences() {
    return maxSequences;
  }

  @Override
  public int maxBlocks() {
    return maxBlocks;
  }

  @Override
  public void begin() {
    tables.clear();
    tokens = 0;
    rows = 0;
  }

  @Override
  public void addSequence(int[] blockTable, int blocks) {
    tables.add(Arrays.copyOf(blockTable, blocks));
  }

  @Override
  public void addToken(int tokenId, int position, boolean needsLogits) {
    ids[tokens] = tokenId;
    positions[tokens] = position;
    sequences[tokens] = tables.size() - 1;
    logits[tokens] = needsLogits;
    tokens++;
    if (needsLogits) {
      rows++;
    }
  }

  @Override
  public void seal() {
    // Everything is on the heap and seen at once.
  }

  @Override
  public int tokens() {
    return tokens;
  }

  @Override
  public int sequences() {
    return tables.size();
  }

  @Override
  public int logitRows() {
    return rows;
  }
}
