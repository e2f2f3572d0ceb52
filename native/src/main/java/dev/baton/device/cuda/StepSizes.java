package dev.baton.device.cuda;

import dev.baton.device.LinearWeight;
import dev.baton.device.StepShape;

/**
 * What one rank takes beside the tensors that it is given, in bytes, for steps of a shape. All of
 * it is allocated before the first step: to allocate makes a driver wait for all kernels of a GPU,
 * of which one may wait for another rank, which waits for the driver.
 *
 * @param inputs of products, in bfloat16; taken twice
 * @param sums of products that are not yet added
 * @param library cuBLASLt's workspace; 0 = it is not used
 * @param attention sums of attention over single tokens
 * @param image of a step's batch
 * @param tables of experts' addresses
 * @param reductionElements elements of the largest sum over ranks
 */
record StepSizes(
    long inputs,
    long sums,
    long library,
    long attention,
    long image,
    long tables,
    long reductionElements) {

  /** Positions that one block of attention over single tokens takes. */
  static final int SPLIT = 256;

  /** Rows that products of some rows are filled up by. */
  private static final int MORE_ROWS = 16;

  /** More than any packing fills a row up by. */
  private static final int FILLING = 8 * 32;

  /** What attention over single tokens may take for its sums. */
  private static final long MOST_ATTENTION_BYTES = 256L << 20;

  /** The addresses of the largest mixtures of today, a few times. */
  private static final long TABLES = 1L << 20;

  static StepSizes of(StepShape shape, boolean library) {
    long rows = shape.tokens() + (long) MORE_ROWS;
    long slots = rows * shape.chosen();
    long inputs =
        Short.BYTES
            * Math.max(
                rows * (shape.inputs() + FILLING),
                shape.chosen() == 0 ? 0 : slots * (shape.slotInputs() + FILLING));
    long sums =
        library
            ? Products.MOST_PARTIAL_BYTES
            : Math.min(
                Products.MOST_PARTIAL_BYTES,
                (long) LinearWeight.PARTIALS * (shape.outputs() + 16L) * 128 * Float.BYTES);
    long splits = Math.ceilDiv((long) shape.blocks() * shape.blockTokens(), SPLIT);
    long all = Math.min(shape.tokens(), 2L * shape.sequences()) * splits * splitBytes(shape);
    return new StepSizes(
        inputs,
        sums,
        library ? CublasLt.WORKSPACE_BYTES : 0,
        Math.min(MOST_ATTENTION_BYTES, 2 * all),
        CudaStepBatch.bytes(shape.tokens(), shape.sequences(), shape.blocks()),
        shape.chosen() == 0 ? 0 : TABLES,
        (long) shape.tokens() * Math.max(1, shape.chosen()) * shape.hidden());
  }

  /** Of one token's sums over one split. */
  private static long splitBytes(StepShape shape) {
    long width = Math.ceilDiv(shape.headDim(), 32) * 32L;
    return shape.heads() * (width + 2) * Float.BYTES;
  }

  /**
   * Blocks over all sequences that attention may take token by token, each counted as long as the
   * longest.
   */
  static int singlesBudget(StepShape shape) {
    long splits = MOST_ATTENTION_BYTES / splitBytes(shape);
    return Math.clamp(splits * SPLIT / shape.blockTokens(), 1, Integer.MAX_VALUE);
  }

  /** All of it but what the sums over ranks take. */
  long bytes() {
    return 2 * inputs + sums + library + attention + image + tables;
  }
}
