package dev.baton.engine.cache;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Which full block holds which prefix, and in which order blocks that nobody holds are given up:
 * the one unheld for longest first. Knows keys and block numbers only; {@link BlockPool} keeps it
 * in step with the ledger. Step thread only.
 */
public final class PrefixCache {

  /** No block. */
  public static final int NONE = -1;

  private final Map<BlockKey, Integer> blocks = new HashMap<>();
  private final @Nullable BlockKey[] keys;

  // The idle blocks as a doubly linked list through these arrays; index `capacity` is its anchor.
  private final int[] newer;
  private final int[] older;
  private final int anchor;
  private int idle;

  public PrefixCache(int capacity) {
    anchor = capacity;
    keys = new BlockKey[capacity];
    newer = new int[capacity + 1];
    older = new int[capacity + 1];
    Arrays.fill(newer, NONE);
    Arrays.fill(older, NONE);
    newer[anchor] = anchor;
    older[anchor] = anchor;
  }

  /** The block that holds this prefix, or {@link #NONE}. */
  public int find(BlockKey key) {
    return blocks.getOrDefault(key, NONE);
  }

  public boolean isPublished(int block) {
    return keys[block] != null;
  }

  public boolean isIdle(int block) {
    return newer[block] != NONE;
  }

  /** Blocks that may be given up. */
  public int idle() {
    return idle;
  }

  /**
   * Makes a block findable.
   *
   * @return false when another block holds the same prefix already; nothing changes then
   */
  public boolean publish(int block, BlockKey key) {
    if (keys[block] != null) {
      throw new IllegalStateException(
          "publish: block %d (expected: not published yet)".formatted(block));
    }
    if (blocks.putIfAbsent(key, block) != null) {
      return false;
    }
    keys[block] = key;
    return true;
  }

  /** Nobody holds the published block any more: it may be given up, after those idle already. */
  public void markIdle(int block) {
    if (keys[block] == null || isIdle(block)) {
      throw new IllegalStateException(
          "markIdle: block %d (expected: published and not idle)".formatted(block));
    }
    int newest = older[anchor];
    older[block] = newest;
    newer[block] = anchor;
    newer[newest] = block;
    older[anchor] = block;
    idle++;
  }

  /** Somebody holds the block again. */
  public void markBusy(int block) {
    if (!isIdle(block)) {
      throw new IllegalStateException("markBusy: block %d (expected: idle)".formatted(block));
    }
    newer[older[block]] = newer[block];
    older[newer[block]] = older[block];
    newer[block] = NONE;
    older[block] = NONE;
    idle--;
  }

  /** Forgets the block that was idle for longest and returns it, or {@link #NONE}. */
  public int takeOldestIdle() {
    int oldest = newer[anchor];
    if (oldest == anchor) {
      return NONE;
    }
    markBusy(oldest);
    forget(oldest);
    return oldest;
  }

  /** The block's content is no longer a prefix that others may use. */
  public void forget(int block) {
    BlockKey key = keys[block];
    if (key != null) {
      blocks.remove(key);
      keys[block] = null;
    }
  }

  /** Recounts index and list; throws IllegalStateException on a difference. */
  public void checkIntegrity() {
    int published = 0;
    int idleSeen = 0;
    for (int block = 0; block < keys.length; block++) {
      BlockKey key = keys[block];
      if (key != null) {
        published++;
        if (find(key) != block) {
          throw new IllegalStateException(
              "prefix cache: block %d is found as %d (expected: itself)"
                  .formatted(block, find(key)));
        }
      }
      if (isIdle(block)) {
        idleSeen++;
        if (key == null) {
          throw new IllegalStateException(
              "prefix cache: block %d idle without a key (expected: published)".formatted(block));
        }
      }
    }
    int listed = 0;
    for (int block = newer[anchor]; block != anchor && listed <= idle; block = newer[block]) {
      listed++;
    }
    if (published != blocks.size() || idleSeen != idle || listed != idle) {
      throw new IllegalStateException(
          "prefix cache: %d keys, %d idle, %d listed (expected: %d, %d, %d)"
              .formatted(blocks.size(), idle, listed, published, idleSeen, idleSeen));
    }
  }
}
