package dev.baton.engine.model;

import dev.baton.device.StepBatch;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** A step batch on the Java heap that {@link FakeModelRunner} reads. */
final class FakeStepBatch implements StepBatch {

  /** One token of one sequence. */
  record Token(int sequence, int id, int position, boolean needsLogits) {}

  private final int maxTokens;
  private final int maxSequences;
  private final int maxBlocks;
  final List<int[]> tables = new ArrayList<>();
  final List<Token> tokens = new ArrayList<>();
  boolean sealed;

  FakeStepBatch(int maxTokens, int maxSequences, int maxBlocks) {
    this.maxTokens = maxTokens;
    this.maxSequences = maxSequences;
    this.maxBlocks = maxBlocks;
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
    tokens.clear();
    sealed = false;
  }

  @Override
  public void addSequence(int[] blockTable, int blocks) {
    require(tables.size() < maxSequences, "sequences: at most " + maxSequences);
    require(blocks <= maxBlocks, "blocks: at most " + maxBlocks);
    tables.add(Arrays.copyOf(blockTable, blocks));
  }

  @Override
  public void addToken(int tokenId, int position, boolean needsLogits) {
    require(tokens.size() < maxTokens, "tokens: at most " + maxTokens);
    tokens.add(new Token(tables.size() - 1, tokenId, position, needsLogits));
  }

  @Override
  public void seal() {
    sealed = true;
  }

  @Override
  public int tokens() {
    return tokens.size();
  }

  @Override
  public int sequences() {
    return tables.size();
  }

  @Override
  public int logitRows() {
    return (int) tokens.stream().filter(Token::needsLogits).count();
  }

  private static void require(boolean right, String what) {
    if (!right) {
      throw new IllegalStateException(what);
    }
  }
}
