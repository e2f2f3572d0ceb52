package dev.baton.engine.cache;

import dev.baton.engine.SessionId;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The blocks of one session in order of position, and the keys of its full ones. The leading ones
 * may be behind the window of the model: they count as places, but are not held. Changed by {@link
 * BlockPool} only. Step thread only.
 */
public final class BlockTable {

  private static final int FIRST_CAPACITY = 8;

  private final SessionId session;
  private final BlockKey root;
  private int[] blocks = new int[FIRST_CAPACITY];
  private int first;
  private int count;
  private int shared;
  private int completeFrom;
  private int published;
  private boolean reserved;
  private boolean forPrefix;
  private int keptFrom = Integer.MAX_VALUE;
  private BlockKey[] keys = new BlockKey[FIRST_CAPACITY];
  private int keyCount;

  BlockTable(SessionId session, BlockKey root) {
    this.session = session;
    this.root = root;
  }

  public SessionId session() {
    return session;
  }

  /** Places of blocks; those from {@link #first} on are held. */
  public int count() {
    return count;
  }

  /** The first place whose block is held; what is before it is never read again. */
  public int first() {
    return first;
  }

  /** Blocks held. */
  public int held() {
    return count - first;
  }

  /**
   * Where the blocks end that came from the prefix cache, or are behind the window; never written
   * by this session.
   */
  public int shared() {
    return shared;
  }

  /** The blocks are promised to a hand-off that has not completed. */
  public boolean isReserved() {
    return reserved;
  }

  /** What arrives is for the prefix cache only, and so wanted in whole blocks. */
  public void wantWholeBlocks() {
    forPrefix = true;
  }

  boolean wantsWholeBlocks() {
    return forPrefix;
  }

  /** Blocks behind the window are kept for a reader. */
  public boolean keeps() {
    return keptFrom < Integer.MAX_VALUE;
  }

  /** Places from this one on are kept, though they may come to be behind the window. */
  int keptFrom() {
    return keptFrom;
  }

  void keepFrom(int place) {
    keptFrom = place;
  }

  /**
   * Block numbers; the entries from {@link #first} to {@link #count} hold, those before are numbers
   * of some blocks of the pool. The table's own array: read only.
   */
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
    published = Math.max(value, completeFrom);
  }

  /** Full blocks before this place lack positions that nobody needs, and are not for others. */
  void setCompleteFrom(int place) {
    completeFrom = place;
  }

  /** As {@link #setCompleteFrom}, of blocks that are held already. */
  void lackBefore(int place) {
    completeFrom = Math.max(completeFrom, place);
    published = Math.max(published, completeFrom);
  }

  /** Counts places without blocks at the start of an empty table. */
  void skip(int places) {
    blocks = Arrays.copyOf(blocks, Math.max(blocks.length, places));
    Arrays.fill(blocks, 0, places, 0);
    count = places;
    first = places;
  }

  /** Gives up the hold on the blocks before this place. */
  void dropTo(int place) {
    first = place;
  }

  void add(int block) {
    if (count == blocks.length) {
      blocks = Arrays.copyOf(blocks, 2 * count);
    }
    blocks[count++] = block;
  }

  /** Forgets the blocks; the keys stay, for the tokens stay. */
  void clear() {
    first = 0;
    count = 0;
    shared = 0;
    published = 0;
    reserved = false;
    keptFrom = Integer.MAX_VALUE;
  }

  /** The key of full block {@code index}, if somebody has asked for it. */
  @Nullable BlockKey knownKey(int index) {
    return index < keyCount ? keys[index] : null;
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
