package dev.baton.engine.cache;

import dev.baton.engine.SessionId;
import java.util.Arrays;

/**
 * The blocks of one session in order of position, and the keys of its full ones. Changed by {@link
 * BlockPool} only. Step thread only.
 */
public final class BlockTable {

  private static final int FIRST_CAPACITY = 8;

  private final SessionId session;
  private final BlockKey root;
  private int[] blocks = new int[FIRST_CAPACITY];
  private int count;
  private int shared;
  private int published;
  private boolean reserved;
  private BlockKey[] keys = new BlockKey[FIRST_CAPACITY];
  private int keyCount;

  BlockTable(SessionId session, BlockKey root) {
    this.session = session;
    this.root = root;
  }

  public SessionId session() {
    return session;
  }

  /** Blocks held. */
  public int count() {
    return count;
  }

  /** Leading blocks that came from the prefix cache; never written by this session. */
  public int shared() {
    return shared;
  }

  /** The blocks are promised to a hand-off that has not completed. */
  public boolean isReserved() {
    return reserved;
  }

  /** Block numbers; the first {@link #count} entries hold. The table's own array: read only. */
  public int[] blocks() {
    return blocks;
  }

  /** Leading full blocks that were offered to the prefix cache. */
  int published() {
    return published;
  }

  void setPublished(int full) {
    published = full;
  }

  void setReserved(boolean value) {
    reserved = value;
  }

  void setShared(int value) {
    shared = value;
    published = value;
  }

  void add(int block) {
    if (count == blocks.length) {
      blocks = Arrays.copyOf(blocks, 2 * count);
    }
    blocks[count++] = block;
  }

  /** Forgets the blocks; the keys stay, for the tokens stay. */
  void clear() {
    count = 0;
    shared = 0;
    published = 0;
    reserved = false;
  }

  /** The key of full block {@code index}, computed on first use. */
  BlockKey key(int index, int[] tokens, int blockTokens, BlockHasher hasher) {
    while (keyCount <= index) {
      if (keyCount == keys.length) {
        keys = Arrays.copyOf(keys, 2 * keyCount);
      }
      BlockKey parent = keyCount == 0 ? root : keys[keyCount - 1];
      keys[keyCount] = hasher.next(parent, tokens, keyCount * blockTokens);
      keyCount++;
    }
    return keys[index];
  }
}
