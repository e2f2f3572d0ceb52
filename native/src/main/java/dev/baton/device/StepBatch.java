package dev.baton.device;

/**
 * One step's flattened batch as the kernels see it: any mix of decode tokens and prefill chunks.
 * The engine fills it between steps on the step thread ({@link #begin}, {@link #addSequence},
 * {@link #addToken}, {@link #seal}); during a step all ranks read it and nobody writes.
 *
 * <p>Tokens of one sequence are adjacent and in rising position; a token attends to the positions
 * {@code 0..position} of its own sequence, whose KV is in the blocks of the sequence's table or is
 * stored earlier in the same step.
 */
public interface StepBatch {

  int maxTokens();

  int maxSequences();

  /** Longest block table. */
  int maxBlocks();

  /** Empties the batch. */
  void begin();

  /**
   * Opens the next sequence; the tokens added after it belong to it.
   *
   * @param blockTable block numbers in order of position; the first {@code blocks} entries are
   *     copied
   */
  void addSequence(int[] blockTable, int blocks);

  /**
   * Adds a token to the sequence opened last.
   *
   * @param needsLogits the row takes part in {@link Ops#gatherLogitRows}
   */
  void addToken(int tokenId, int position, boolean needsLogits);

  /** Makes the content visible to the device; needed before a step. */
  void seal();

  int tokens();

  int sequences();

  /** Rows that need logits, in the order in which they were added. */
  int logitRows();
}
