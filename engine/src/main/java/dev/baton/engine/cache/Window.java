package dev.baton.engine.cache;

/**
 * How far back the layers of a model look, and so which blocks a session still needs. A model with
 * a layer that looks at everything has no window.
 *
 * @param size positions seen back, counting the token's own; 0 = all
 * @param blockTokens token positions of a block
 * @param chunk most positions that are computed at once
 */
public record Window(int size, int blockTokens, int chunk) {

  public Window {
    if (size < 0 || blockTokens < 1 || chunk < 1) {
      throw new IllegalArgumentException(
          "window: %d of blocks of %d, chunks of %d (expected: >= 0, >= 1, >= 1)"
              .formatted(size, blockTokens, chunk));
    }
  }

  /** Every layer, or one of them, looks at everything. */
  public static Window none(int blockTokens) {
    return new Window(0, blockTokens, 1);
  }

  /**
   * The first position that a token at {@code position}, or any later one, reads; or the one before
   * it, in a window of its own position alone: there is always something to hand over.
   */
  public int start(int position) {
    return size == 0 ? 0 : Math.max(0, position - Math.max(1, size - 1));
  }

  /**
   * A position at which a block begins, so that the window from {@link #start} is in whole blocks.
   */
  int startOfBlock(int position) {
    return firstBlock(position) * blockTokens;
  }

  /** The first block that a token at {@code position}, or any later one, reads. */
  int firstBlock(int position) {
    return start(position) / blockTokens;
  }

  /** Blocks that hold a window and a chunk, however they lie; all there are without a window. */
  public int mostBlocks() {
    return size == 0
        ? Integer.MAX_VALUE
        : (int)
            Math.ceilDiv((long) Math.max(2, size) + chunk + blockTokens - 2, (long) blockTokens);
  }
}
