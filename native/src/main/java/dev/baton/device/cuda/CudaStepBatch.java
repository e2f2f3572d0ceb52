package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.host.HostStepBatch;
import java.lang.foreign.MemorySegment;

/**
 * A batch in one piece of pinned memory, which every rank copies to its GPU in one go before the
 * step. Sealing sorts the tokens by the attention kernel that takes them and pulls the block tables
 * together to the longest of the step, so that only what is in use travels.
 *
 * <p>In order: five counts and their filling, token ids, positions, sequences, logit rows, runs,
 * singles, tables.
 */
final class CudaStepBatch extends HostStepBatch {

  /** Bytes of the struct in {@code layouts.h}. */
  static final int STRUCT_BYTES = 72;

  private static final int COUNTS = 16;

  /** Most tokens of a run. */
  private static final int RUN = 64;

  /** A sequence of at most so many tokens is taken token by token. */
  private static final int MOST_SINGLES = 2;

  private static final int LEAST_SPAN = 8;

  private final MemorySegment image;
  private final int singlesBudget;
  private final long runsAt;
  private final long singlesAt;
  private final long tablesAt;
  private int runs;
  private int singles;
  private int span;
  private long version;

  /** Cuts one piece of memory into the arrays that the batch asks for, in its order. */
  private static final class Pieces implements Memory {
    private final MemorySegment all;
    private long at = (long) COUNTS * Integer.BYTES;

    Pieces(MemorySegment all) {
      this.all = all;
    }

    @Override
    public MemorySegment allocate(long bytes, String what) {
      MemorySegment piece = all.asSlice(at, bytes);
      at += bytes;
      return piece;
    }
  }

  /**
   * @param pinned {@link #bytes} of it
   * @param singlesBudget most blocks over all sequences taken token by token, each counted as long
   *     as the longest; more would need too large a workspace
   */
  CudaStepBatch(
      MemorySegment pinned, int maxTokens, int maxSequences, int maxBlocks, int singlesBudget) {
    super(cut(pinned, maxTokens, maxSequences, maxBlocks), maxTokens, maxSequences, maxBlocks);
    this.image = pinned;
    this.singlesBudget = singlesBudget;
    runsAt = (COUNTS + 4L * maxTokens) * Integer.BYTES;
    singlesAt = runsAt + 2L * maxTokens * Integer.BYTES;
    tablesAt = singlesAt + (long) maxTokens * Integer.BYTES;
  }

  /** The base class allocates token ids, positions, sequences, logit rows, then tables. */
  private static Memory cut(MemorySegment pinned, int maxTokens, int maxSequences, int maxBlocks) {
    Pieces pieces = new Pieces(pinned);
    long tables = 4L * maxSequences * maxBlocks;
    return (bytes, what) -> {
      if (pieces.at == (COUNTS + 4L * maxTokens) * Integer.BYTES) {
        pieces.at += 3L * maxTokens * Integer.BYTES;
        return pieces.allocate(tables, what);
      }
      return pieces.allocate(bytes, what);
    };
  }

  /** Bytes of a batch's image. */
  static long bytes(int maxTokens, int maxSequences, int maxBlocks) {
    return (COUNTS + 7L * maxTokens + (long) maxSequences * maxBlocks) * Integer.BYTES;
  }

  @Override
  public void seal() {
    super.seal();
    sort();
    pullTablesTogether();
    image.setAtIndex(JAVA_INT, 0, tokens());
    image.setAtIndex(JAVA_INT, 1, sequences());
    image.setAtIndex(JAVA_INT, 2, logitRows());
    image.setAtIndex(JAVA_INT, 3, runs);
    image.setAtIndex(JAVA_INT, 4, singles);
    version++;
  }

  private void sort() {
    runs = 0;
    singles = 0;
    span = LEAST_SPAN;
    for (int i = 0; i < sequences(); i++) {
      while (span < blockCount(i)) {
        span = Math.min(2 * span, Math.max(LEAST_SPAN, maxBlocks()));
      }
    }
    int most = mostSingles();
    int from = 0;
    while (from < tokens()) {
      int sequence = sequenceOf().getAtIndex(JAVA_INT, from);
      int to = from + 1;
      while (to < tokens() && sequenceOf().getAtIndex(JAVA_INT, to) == sequence) {
        to++;
      }
      if (to - from <= MOST_SINGLES && singles + to - from <= most) {
        for (int token = from; token < to; token++) {
          image.set(JAVA_INT, singlesAt + 4L * singles++, token);
        }
      } else {
        for (int token = from; token < to; token += RUN) {
          image.set(JAVA_INT, runsAt + 8L * runs, token);
          image.set(JAVA_INT, runsAt + 8L * runs++ + 4, Math.min(RUN, to - token));
        }
      }
      from = to;
    }
  }

  /** Tables were written {@code maxBlocks} apart; each moves forward, so none is overwritten. */
  private void pullTablesTogether() {
    int pitch = pitch();
    if (pitch == maxBlocks()) {
      return;
    }
    for (int i = 1; i < sequences(); i++) {
      MemorySegment.copy(
          image,
          tablesAt + 4L * i * maxBlocks(),
          image,
          tablesAt + 4L * i * pitch,
          4L * blockCount(i));
    }
  }

  private int pitch() {
    return Math.min(span, maxBlocks());
  }

  /** Rises whenever the batch is sealed. */
  long version() {
    return version;
  }

  int runs() {
    return runs;
  }

  int singles() {
    return singles;
  }

  /** Tokens that may be taken one by one while the longest table has {@link #span} blocks. */
  int mostSingles() {
    return Math.max(1, singlesBudget / span);
  }

  /** Blocks that the longest table has at most: a power of two, or all that there can be. */
  int span() {
    return span;
  }

  /** What a GPU needs of the batch. */
  MemorySegment used() {
    return image.asSlice(0, tablesAt + 4L * sequences() * pitch());
  }

  /** Where a count stands on a GPU: 0 tokens, 1 sequences, 2 logit rows, 3 runs, 4 singles. */
  static long count(long base, int which) {
    return base + 4L * which;
  }

  /** The struct for an image that lies at {@code base}. */
  void write(MemorySegment to, long base) {
    long array = 4L * maxTokens();
    long tokenIds = base + (long) COUNTS * Integer.BYTES;
    to.setAtIndex(JAVA_LONG, 0, base);
    to.setAtIndex(JAVA_LONG, 1, tokenIds);
    to.setAtIndex(JAVA_LONG, 2, tokenIds + array);
    to.setAtIndex(JAVA_LONG, 3, tokenIds + 2 * array);
    to.setAtIndex(JAVA_LONG, 4, tokenIds + 3 * array);
    to.setAtIndex(JAVA_LONG, 5, base + tablesAt);
    to.setAtIndex(JAVA_LONG, 6, base + runsAt);
    to.setAtIndex(JAVA_LONG, 7, base + singlesAt);
    to.set(JAVA_INT, 64, pitch());
    to.set(JAVA_INT, 68, 0);
  }

  long tokenIdsAt(long base) {
    return base + (long) COUNTS * Integer.BYTES;
  }

  long logitIndexAt(long base) {
    return tokenIdsAt(base) + 3 * 4L * maxTokens();
  }
}
