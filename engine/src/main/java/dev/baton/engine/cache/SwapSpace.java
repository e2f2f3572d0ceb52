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
 * is always that session's preemption.
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
  private record Kept(
      SessionId session, int firstBlock, int tokens, int[] pages, long sinceNanos) {}

  private static final long ALIGNMENT = 64;

  private final int blockTokens;
  private final long pageBytes;
  private final Copier copier;
  private final Arena memory = Arena.ofShared();
  private final @Nullable MemorySegment[] pages;
  private final int[] free;
  private final Map<SessionId, Kept> kept = new HashMap<>();
  private final LongSupplier nanoTime;
  private int freeCount;

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

  /** Sessions that have pages. */
  public int sessions() {
    return kept.size();
  }

  /** Bytes that {@link #keep} would copy. */
  public long bytesFor(BlockTable table, int computed) {
    return pagesFor(table, computed) * pageBytes;
  }

  private long pagesFor(BlockTable table, int computed) {
    return Math.max(0, Math.ceilDiv(computed, blockTokens) - table.first());
  }

  /**
   * Copies the KV of the table's first {@code computed} tokens, as far as its blocks are held.
   *
   * @return false when there are too few pages, or nothing to keep; nothing has changed then
   */
  public boolean keep(BlockTable table, int computed) {
    int count = (int) pagesFor(table, computed);
    if (count == 0 || count > freeCount || !allocated(count)) {
      return false;
    }
    if (kept.containsKey(table.session())) {
      throw new IllegalStateException(
          "keep: session %s (expected: not kept already)".formatted(table.session()));
    }
    int[] taken = new int[count];
    for (int i = 0; i < count; i++) {
      taken[i] = free[--freeCount];
    }
    Kept copy = new Kept(table.session(), table.first(), computed, taken, nanoTime.getAsLong());
    kept.put(table.session(), copy);
    for (int block = copy.firstBlock; block < copy.firstBlock + count; block++) {
      copier.copyOut(table.blocks(), from(block), to(block, copy), page(block, copy));
    }
    return true;
  }

  /** The session's KV goes back into its table's blocks, except the shared ones, which have it. */
  public void bring(BlockTable table) {
    Kept copy = kept.get(table.session());
    if (copy == null || table.shared() < copy.firstBlock) {
      throw new IllegalStateException(
          "bring: session %s, kept %s, shared %d blocks (expected: kept, and all that is needed)"
              .formatted(table.session(), copy, table.shared()));
    }
    for (int block = table.shared(); from(block) < copy.tokens; block++) {
      copier.copyIn(table.blocks(), from(block), to(block, copy), page(block, copy));
    }
    forget(table.session());
  }

  /** Frees what the session has here, if anything. */
  public void forget(SessionId session) {
    Kept copy = kept.remove(session);
    if (copy != null) {
      for (int i = copy.pages.length - 1; i >= 0; i--) {
        free[freeCount++] = copy.pages[i];
      }
    }
  }

  /** Tokens of the session whose KV is here; 0 = none. */
  public int tokens(SessionId session) {
    Kept copy = kept.get(session);
    return copy == null ? 0 : copy.tokens;
  }

  /** Who has pages. */
  public List<Holding> holdings() {
    return kept.values().stream()
        .map(
            copy ->
                new Holding(
                    copy.session,
                    Holding.Kind.PAGE,
                    "PREEMPTION",
                    copy.pages.length,
                    copy.sinceNanos))
        .toList();
  }

  /** Recounts every page; throws IllegalStateException on a difference. */
  public void checkIntegrity() {
    @Nullable Kept[] owners = new Kept[pages.length];
    int owned = 0;
    for (Kept copy : kept.values()) {
      for (int page : copy.pages) {
        Kept other = owners[page];
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
    if (owned != used()) {
      throw new IllegalStateException(
          "swap: %d pages used (expected: %d, recounted)".formatted(used(), owned));
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

  private int to(int block, Kept copy) {
    return Math.min((block + 1) * blockTokens, copy.tokens);
  }

  private MemorySegment page(int block, Kept copy) {
    MemorySegment page = pages[copy.pages[block - copy.firstBlock]];
    if (page == null) {
      throw new IllegalStateException(
          "swap: page of block %d of %s (expected: allocated)".formatted(block, copy.session));
    }
    return page;
  }
}
