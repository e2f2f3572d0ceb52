package dev.baton.engine.cache;

import dev.baton.engine.Holding;
import dev.baton.engine.SessionId;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Copies of the KV of preempted sessions, in host memory outside the block pool, so that they go on
 * without computing it again. A page holds one block of all layers and heads in the cache's own
 * dtype, so what comes back is bit for bit what went. Every page belongs to one session; its reason
 * is that session's preemption, or that it may come soon.
 *
 * <p>A long context takes as long to copy as some steps. So the blocks of the session that is next
 * to be preempted can be copied some at a time while it goes on ({@link #copyAhead}): a full block
 * whose tokens are computed never changes. {@link #keep} then copies what is left. On the way back
 * {@link #bring} does some at a time, too; the pages stay until all of them are in blocks, so that
 * a session which loses its blocks before that has lost nothing.
 *
 * <p>Owns the memory; takes it page by page when it is first needed, up to its bound. Step thread
 * only.
 */
public final class SwapSpace implements AutoCloseable {

  /** Copies between blocks and a page; exact both ways. */
  public interface Copier {

    /** Copies tokens {@code [from, to)} of the blocks to the page. */
    void copyOut(int[] blocks, int from, int to, MemorySegment page);

    /** Copies tokens {@code [from, to)} from the page to the blocks. */
    void copyIn(int[] blocks, int from, int to, MemorySegment page);
  }

  /** What one session has here: the pages of its blocks from {@code firstBlock} on. */
  private static final class Copy {
    final SessionId session;
    final int firstBlock;
    final long sinceNanos;

    /** Those that are kept; 0 = the session goes on, and its first blocks are copied ahead. */
    int tokens;

    int[] pages = new int[0];

    /** Blocks before this place are back in the session's table; 0 = none has been brought. */
    int brought;

    Copy(SessionId session, int firstBlock, long sinceNanos) {
      this.session = session;
      this.firstBlock = firstBlock;
      this.sinceNanos = sinceNanos;
    }

    int endBlock() {
      return firstBlock + pages.length;
    }

    @Override
    public String toString() {
      return "%s (%d tokens kept, %d pages)".formatted(session, tokens, pages.length);
    }
  }

  private static final long ALIGNMENT = 64;

  private final int blockTokens;
  private final long pageBytes;
  private final Copier copier;
  private final Arena memory = Arena.ofShared();
  private final @Nullable MemorySegment[] pages;
  private final int[] free;
  private final Map<SessionId, Copy> copies = new HashMap<>();
  private final LongSupplier nanoTime;
  private int freeCount;
  private int keptSessions;

  /**
   * @param bytes bound of all pages; 0 = no session is ever kept
   * @param pageBytes of the KV of {@code blockTokens} tokens
   * @param nanoTime a clock that only rises, nanoseconds; pages are dated by it
   */
  public SwapSpace(
      long bytes, long pageBytes, int blockTokens, Copier copier, LongSupplier nanoTime) {
    if (bytes < 0 || pageBytes < 1 || blockTokens < 1) {
      throw new IllegalArgumentException(
          "swap: %d bytes in pages of %d for %d tokens (expected: >= 0, >= 1, >= 1)"
              .formatted(bytes, pageBytes, blockTokens));
    }
    int capacity = (int) Math.min(Integer.MAX_VALUE >> 1, bytes / pageBytes);
    this.blockTokens = blockTokens;
    this.pageBytes = pageBytes;
    this.copier = copier;
    this.nanoTime = nanoTime;
    this.pages = new MemorySegment[capacity];
    this.free = new int[capacity];
    // The lowest is given out first, so that memory which has been taken is used before new one.
    Arrays.setAll(free, i -> capacity - 1 - i);
    this.freeCount = capacity;
  }

  public int capacity() {
    return pages.length;
  }

  /** Pages that sessions have. */
  public int used() {
    return pages.length - freeCount;
  }

  /** Sessions that are kept. */
  public int sessions() {
    return keptSessions;
  }

  /** Sessions that go on and have copies ahead. */
  public int sessionsAhead() {
    return copies.size() - keptSessions;
  }

  /** Bytes of a page. */
  public long pageBytes() {
    return pageBytes;
  }

  /** Bytes of what {@link #keep} keeps. */
  public long bytesFor(BlockTable table, int computed) {
    return pagesFor(table, computed) * pageBytes;
  }

  private long pagesFor(BlockTable table, int computed) {
    return Math.max(0, Math.ceilDiv(computed, blockTokens) - table.first());
  }

  /** Full blocks of the first {@code computed} tokens that are held and not copied yet. */
  public int leftToCopy(BlockTable table, int computed) {
    return computed / blockTokens - endOfCopied(table);
  }

  private int endOfCopied(BlockTable table) {
    Copy copy = copies.get(table.session());
    return copy == null || copy.firstBlock != table.first() ? table.first() : copy.endBlock();
  }

  /**
   * Copies at most {@code most} of {@link #leftToCopy}, in order; fewer when a page has no memory
   * yet, which takes long to get, or when there would be too few pages for {@link #keep}. The
   * session goes on; {@link #forget} if it does so to its end.
   */
  public void copyAhead(BlockTable table, int computed, int most) {
    int end = endOfCopied(table);
    int to = Math.min(end + most, computed / blockTokens);
    if (Math.ceilDiv(computed, blockTokens) - end > freeCount || to <= end) {
      return;
    }
    Copy copy = copyOf(table);
    boolean memory = true;
    for (int block = end; block < to && memory; block++) {
      memory = pages[free[freeCount - 1]] != null;
      if (!allocated(1)) {
        break;
      }
      takePages(copy, 1);
      copier.copyOut(table.blocks(), from(block), from(block + 1), page(block, copy));
    }
    if (copy.pages.length == 0) {
      forget(copy.session);
    }
  }

  /**
   * Copies the KV of the table's first {@code computed} tokens, as far as its blocks are held.
   *
   * @return false when there are too few pages, or nothing to keep; nothing has changed then
   */
  public boolean keep(BlockTable table, int computed) {
    Copy before = copies.get(table.session());
    if (before != null && before.tokens > 0) {
      throw new IllegalStateException(
          "keep: session %s (expected: not kept already)".formatted(before));
    }
    int end = endOfCopied(table);
    int count = table.first() + (int) pagesFor(table, computed) - end;
    if (pagesFor(table, computed) == 0 || count > freeCount || !allocated(count)) {
      return false;
    }
    Copy copy = copyOf(table);
    copy.tokens = computed;
    keptSessions++;
    takePages(copy, count);
    for (int block = end; block < end + count; block++) {
      copier.copyOut(table.blocks(), from(block), to(block, copy), page(block, copy));
    }
    return true;
  }

  /** The session's copy, whose pages so far are those of the table's first held blocks. */
  private Copy copyOf(BlockTable table) {
    Copy copy = copies.get(table.session());
    if (copy != null && copy.firstBlock != table.first()) {
      forget(copy.session);
      copy = null;
    }
    if (copy == null) {
      copy = new Copy(table.session(), table.first(), nanoTime.getAsLong());
      copies.put(copy.session, copy);
    }
    return copy;
  }

  private void takePages(Copy copy, int count) {
    int had = copy.pages.length;
    copy.pages = Arrays.copyOf(copy.pages, had + count);
    for (int i = had; i < had + count; i++) {
      copy.pages[i] = free[--freeCount];
    }
  }

  /** Blocks that {@link #bring} has still to copy into the table of a kept session. */
  public int leftToBring(BlockTable table) {
    Copy copy = copies.get(table.session());
    return copy == null
        ? 0
        : Math.max(
            0, Math.ceilDiv(copy.tokens, blockTokens) - Math.max(copy.brought, table.shared()));
  }

  /**
   * Copies at most {@code most} blocks of the session's KV back into its table, in order; not the
   * shared ones, which have it. When all is there the session is no longer kept: its pages are
   * free.
   *
   * @return blocks copied
   */
  public int bring(BlockTable table, int most) {
    Copy copy = copies.get(table.session());
    if (copy == null || copy.tokens == 0 || table.shared() < copy.firstBlock) {
      throw new IllegalStateException(
          "bring: session %s, kept %s, shared %d blocks (expected: kept, and all that is needed)"
              .formatted(table.session(), copy, table.shared()));
    }
    int left = leftToBring(table);
    int count = Math.min(left, most);
    int from = Math.max(copy.brought, table.shared());
    for (int block = from; block < from + count; block++) {
      copier.copyIn(table.blocks(), from(block), to(block, copy), page(block, copy));
      copy.brought = block + 1;
    }
    if (count == left) {
      forget(copy.session);
    }
    return count;
  }

  /**
   * A kept session has lost its blocks again: all of its KV is to be brought into the next ones.
   */
  public void bringAnew(SessionId session) {
    Copy copy = copies.get(session);
    if (copy == null || copy.tokens == 0) {
      throw new IllegalStateException(
          "bringAnew: session %s, %s (expected: kept)".formatted(session, copy));
    }
    copy.brought = 0;
  }

  /** Whether some of the session's KV has been brought back, but not all. */
  public boolean isPartlyBack(SessionId session) {
    Copy copy = copies.get(session);
    return copy != null && copy.brought > 0;
  }

  /** Frees what the session has here, if anything. */
  public void forget(SessionId session) {
    Copy copy = copies.remove(session);
    if (copy != null) {
      keptSessions -= copy.tokens > 0 ? 1 : 0;
      for (int i = copy.pages.length - 1; i >= 0; i--) {
        free[freeCount++] = copy.pages[i];
      }
    }
  }

  /** Tokens of the session that are kept; 0 = it is not. */
  public int tokens(SessionId session) {
    Copy copy = copies.get(session);
    return copy == null ? 0 : copy.tokens;
  }

  /** Who has pages. */
  public List<Holding> holdings() {
    return copies.values().stream()
        .map(
            copy ->
                new Holding(
                    copy.session,
                    Holding.Kind.PAGE,
                    copy.tokens > 0 ? "PREEMPTION" : "COPY_AHEAD",
                    copy.pages.length,
                    copy.sinceNanos))
        .toList();
  }

  /** Recounts every page; throws IllegalStateException on a difference. */
  public void checkIntegrity() {
    @Nullable Copy[] owners = new Copy[pages.length];
    int owned = 0;
    int sessions = 0;
    for (Copy copy : copies.values()) {
      sessions += copy.tokens > 0 ? 1 : 0;
      if (copy.brought > 0 && from(copy.brought) >= copy.tokens) {
        throw new IllegalStateException(
            "swap: %s, %d blocks back (expected: fewer, or no pages)"
                .formatted(copy, copy.brought));
      }
      for (int page : copy.pages) {
        Copy other = owners[page];
        if (other != null) {
          throw new IllegalStateException(
              "swap: page %d of %s and of %s (expected: one owner)"
                  .formatted(page, copy.session, other.session));
        }
        owners[page] = copy;
        owned++;
      }
    }
    for (int i = 0; i < freeCount; i++) {
      if (owners[free[i]] != null) {
        throw new IllegalStateException(
            "swap: page %d free and of %s (expected: one of them)"
                .formatted(free[i], owners[free[i]]));
      }
    }
    if (owned != used() || sessions != keptSessions) {
      throw new IllegalStateException(
          "swap: %d pages used, %d sessions kept (expected: %d, %d, recounted)"
              .formatted(used(), keptSessions, owned, sessions));
    }
  }

  @Override
  public void close() {
    memory.close();
  }

  /** Whether the next {@code count} free pages have memory; takes it if the machine gives it. */
  private boolean allocated(int count) {
    for (int i = 1; i <= count; i++) {
      int number = free[freeCount - i];
      if (pages[number] == null) {
        try {
          pages[number] = memory.allocate(pageBytes, ALIGNMENT);
        } catch (OutOfMemoryError e) {
          // Computing the KV again needs no memory; the session is not lost.
          return false;
        }
      }
    }
    return true;
  }

  private int from(int block) {
    return block * blockTokens;
  }

  private int to(int block, Copy copy) {
    return Math.min((block + 1) * blockTokens, copy.tokens);
  }

  private MemorySegment page(int block, Copy copy) {
    MemorySegment page = pages[copy.pages[block - copy.firstBlock]];
    if (page == null) {
      throw new IllegalStateException(
          "swap: page of block %d of %s (expected: allocated)".formatted(block, copy.session));
    }
    return page;
  }
}
