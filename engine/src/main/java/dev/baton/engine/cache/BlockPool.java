package dev.baton.engine.cache;

import dev.baton.engine.Holding;
import dev.baton.engine.LedgerSnapshot;
import dev.baton.engine.SessionId;
import dev.baton.engine.cache.BlockLedger.Reason;
import dev.baton.engine.cache.BlockLedger.State;
import java.util.List;
import java.util.function.LongSupplier;

/**
 * Hands blocks to sessions: finds the longest cached prefix, claims the rest, gives up the oldest
 * idle prefixes when free blocks run out, and publishes blocks as they fill. Changes ledger and
 * prefix cache together, so that a block is idle in the one exactly when it is CACHED in the other.
 *
 * <p>Only full blocks are shared and nobody writes a full block again, so blocks are never copied.
 * Each method that takes blocks takes all it needs or none. Step thread only.
 */
public final class BlockPool {

  /*
   * Windows
   *
   * Where every layer looks back over a window only, a session holds the blocks from the window of
   * its next position on, at most window.mostBlocks() of them: as it goes on, it drops blocks behind
   * and claims as many ahead. A dropped block stays cached when its prefix is published. A cached
   * prefix is of use when its last window is there; what is before may be gone.
   *
   * While somebody reads a session's KV as it goes on, blocks that come to be behind the window are
   * kept for that reader, until he has done or they are needed: keep and letGo.
   *
   * A session that drops a block which another one shares gets none for it. So that it can go on all
   * the same, the pool counts holds there, not blocks: a shared block is paid for by each holder.
   * Then dropping one hold always pays for claiming one block. Sharing saves computing, not room.
   */

  private static final int NO_ROOM = -1;

  private final BlockLedger ledger;
  private final PrefixCache prefixes;
  private final BlockHasher hasher;
  private final Window window;
  private final int blockTokens;
  private int holds;

  /**
   * @param fingerprint of the model; part of every key
   * @param nanoTime a clock that only rises, nanoseconds; holds are dated by it
   */
  public BlockPool(int capacity, String fingerprint, Window window, LongSupplier nanoTime) {
    this.ledger = new BlockLedger(capacity, nanoTime);
    this.prefixes = new PrefixCache(capacity);
    this.hasher = new BlockHasher(fingerprint, window.blockTokens());
    this.window = window;
    this.blockTokens = window.blockTokens();
  }

  public int capacity() {
    return ledger.capacity();
  }

  /** Blocks that anybody has used since the start: those of the lowest numbers. */
  public int everUsed() {
    return ledger.everClaimed();
  }

  public int blockTokens() {
    return blockTokens;
  }

  /** Blocks that a session could get now: free ones and idle prefixes. */
  public int available() {
    return window.size() == 0
        ? ledger.count(State.FREE) + prefixes.idle()
        : capacity() - ledger.count(State.QUARANTINED) - holds;
  }

  public Window window() {
    return window;
  }

  /** Blocks that a session of so many token positions holds at most at a time. */
  public int blocksFor(int positions) {
    return Math.min(window.mostBlocks(), Math.ceilDiv(positions, blockTokens));
  }

  /** Blocks that become available when the session's hold ends. */
  public int freedBy(BlockTable table) {
    if (window.size() > 0) {
      return table.held();
    }
    int alone = 0;
    for (int i = 0; i < table.count(); i++) {
      alone += ledger.holders(table.blocks()[i]) == 1 ? 1 : 0;
    }
    return alone;
  }

  /** An empty table. */
  public BlockTable open(SessionId session, String salt) {
    return new BlockTable(session, hasher.root(salt));
  }

  /**
   * Fills an empty table: shares the longest cached prefix of the tokens, and claims blocks up to
   * {@code positions}, or as far as a window and a chunk reach. At least the last token is left out
   * of the prefix, for its logits are needed.
   *
   * @param resume tokens whose KV comes from elsewhere, as far as the prefix cache lacks it: by
   *     hand-off, or from the swap space; 0 = none
   * @param spare blocks that must still be available afterwards
   * @param as OWNED, or RESERVED for the claimed ones (shared ones are owned: their KV is there)
   * @return leading positions whose KV is there or will never be read; -1 when there are not enough
   *     blocks, and nothing has changed then
   */
  public int fill(
      BlockTable table, int[] tokens, int length, int positions, int resume, int spare, State as) {
    if (table.count() != 0) {
      throw new IllegalStateException(
          "fill: table of session %s holds %d blocks (expected: none)"
              .formatted(table.session(), table.held()));
    }
    int hits = cachedBlocks(table, tokens, length);
    boolean whole = table.wantsWholeBlocks();
    int start = Math.max(hits * blockTokens, whole ? resume / blockTokens * blockTokens : resume);
    int first = window.firstBlock(start);
    int shared = Math.max(first, hits);
    int wanted = placesUpTo(first, positions);
    if (available() - taken(table, tokens, first, shared, wanted) < spare) {
      return NO_ROOM;
    }
    int needed = whole ? window.startOfBlock(start) : window.start(start);
    int present = Math.max(hits * blockTokens, needed);
    if (resume == 0 || as == State.RESERVED) {
      table.setCompleteFrom(Math.ceilDiv(present, blockTokens));
    }
    table.skip(first);
    share(table, tokens, first, shared);
    table.setReserved(as == State.RESERVED);
    claimUpTo(table, wanted, as, as == State.RESERVED ? Reason.HANDOFF : Reason.CONTEXT);
    return present;
  }

  private void share(BlockTable table, int[] tokens, int first, int end) {
    for (int i = first; i < end; i++) {
      int block = prefixes.find(table.key(i, tokens, blockTokens, hasher));
      if (prefixes.isIdle(block)) {
        prefixes.markBusy(block);
      }
      ledger.share(block, table.session());
      table.add(block);
      holds++;
    }
    table.setShared(end);
  }

  /**
   * Fills an empty table with the longest cached prefix of the tokens, or the window of its end,
   * and nothing else.
   *
   * @param spare blocks that must still be available afterwards
   * @return tokens pinned, those behind the window included; 0 when there are none, or too few
   *     blocks would be left
   */
  public int pin(BlockTable table, int[] tokens, int length, int spare) {
    int hits = cachedBlocks(table, tokens, length + 1);
    int first = window.firstBlock(hits * blockTokens);
    if (available() - taken(table, tokens, first, hits, hits) < spare) {
      return 0;
    }
    table.skip(first);
    share(table, tokens, first, hits);
    return hits * blockTokens;
  }

  /** How many leading blocks need not be computed; of these the last window is cached. */
  private int cachedBlocks(BlockTable table, int[] tokens, int length) {
    int most = (length - 1) / blockTokens;
    int usable = 0;
    int run = 0;
    for (int i = 0; i < most; i++) {
      boolean found = prefixes.find(table.key(i, tokens, blockTokens, hasher)) != PrefixCache.NONE;
      if (!found && window.size() == 0) {
        break;
      }
      run = found ? run + 1 : 0;
      int end = i + 1;
      if (end - run <= window.firstBlock(end * blockTokens)) {
        usable = end;
      }
    }
    return usable;
  }

  /** What is no longer available once the table holds the places from first to wanted. */
  private int taken(BlockTable table, int[] tokens, int first, int shared, int wanted) {
    if (window.size() > 0) {
      return wanted - first;
    }
    int idleHits = 0;
    for (int i = first; i < shared; i++) {
      int block = prefixes.find(table.key(i, tokens, blockTokens, hasher));
      idleHits += prefixes.isIdle(block) ? 1 : 0;
    }
    return idleHits + wanted - shared;
  }

  private int placesUpTo(int first, int positions) {
    return (int) Math.min((long) first + window.mostBlocks(), Math.ceilDiv(positions, blockTokens));
  }

  /**
   * Drops what a session at {@code computed} never reads again, then makes the table reach {@code
   * positions}, or as far as a window and a chunk go.
   *
   * @return false when there are not enough blocks; nothing has been claimed then
   */
  public boolean extend(BlockTable table, int computed, int positions) {
    dropBehind(table, computed);
    int wanted = placesUpTo(Math.max(table.first(), window.firstBlock(computed)), positions);
    if (wanted <= table.count()) {
      return true;
    }
    if (available() < wanted - table.count()) {
      return false;
    }
    claimUpTo(table, wanted, State.OWNED, Reason.GROWTH);
    return true;
  }

  private void dropBehind(BlockTable table, int computed) {
    int behind = Math.min(window.firstBlock(computed), table.keptFrom());
    int first = Math.min(behind, table.count());
    for (int i = table.first(); i < first; i++) {
      release(table, i);
    }
    table.dropTo(Math.max(table.first(), first));
  }

  /**
   * From now on blocks stay that a session at {@code computed} still reads, for somebody who reads
   * them later than the session.
   */
  public void keep(BlockTable table, int computed) {
    if (window.size() > 0) {
      table.keepFrom(Math.min(table.keptFrom(), window.firstBlock(computed)));
    }
  }

  /** The reader has done, or must do without: drops what is kept for him alone. */
  public void letGo(BlockTable table, int computed) {
    table.keepFrom(Integer.MAX_VALUE);
    dropBehind(table, computed);
  }

  /**
   * The KV of a reserved table has arrived: its blocks are owned from now on.
   *
   * @param from first token that has arrived; the table's owner lacks nothing before it that it
   *     still reads
   */
  public void settle(BlockTable table, int from) {
    table.lackBefore(Math.ceilDiv(from, blockTokens));
    for (int i = table.shared(); i < table.count(); i++) {
      ledger.settle(table.blocks()[i], table.session());
    }
    table.setReserved(false);
  }

  /** Publishes the full blocks among the first {@code computed} positions. */
  public void publish(BlockTable table, int[] tokens, int computed) {
    int full = computed / blockTokens;
    for (int i = table.published(); i < full; i++) {
      // A twin computed at the same time may be there first; this block then stays private.
      prefixes.publish(table.blocks()[i], table.key(i, tokens, blockTokens, hasher));
    }
    table.setPublished(Math.max(full, table.published()));
  }

  /** Ends the session's hold on all its blocks; published ones that nobody else holds stay. */
  public void release(BlockTable table) {
    // From the end, so that of one prefix the deepest block is the first to be given up.
    for (int i = table.count() - 1; i >= table.first(); i--) {
      release(table, i);
    }
    table.clear();
  }

  private void release(BlockTable table, int place) {
    int block = table.blocks()[place];
    boolean published = prefixes.isPublished(block);
    boolean last = ledger.release(block, table.session(), published);
    if (last && published) {
      prefixes.markIdle(block);
    }
    holds--;
  }

  /** As {@link #release}, for a session whose KV is in doubt: nobody is to find it. */
  public void releaseUntrusted(BlockTable table) {
    for (int i = 0; i < table.first(); i++) {
      BlockKey key = table.knownKey(i);
      int block = key == null ? PrefixCache.NONE : prefixes.find(key);
      if (block != PrefixCache.NONE) {
        forgetDropped(block);
      }
    }
    for (int i = table.first(); i < table.count(); i++) {
      prefixes.forget(table.blocks()[i]);
    }
    release(table);
  }

  private void forgetDropped(int block) {
    boolean idle = prefixes.isIdle(block);
    if (idle) {
      prefixes.markBusy(block);
      ledger.evict(block);
    }
    prefixes.forget(block);
  }

  /** Writes the number of blocks in each state, by its ordinal. */
  public void count(int[] states) {
    for (int i = 0; i < states.length; i++) {
      states[i] = ledger.count(i);
    }
  }

  public LedgerSnapshot snapshot() {
    return ledger.snapshot();
  }

  /** Who holds blocks, and why. Walks all blocks. */
  public List<Holding> holdings() {
    return ledger.holdings();
  }

  /**
   * Recounts every block against the tables of all living sessions and the prefix cache; throws
   * IllegalStateException on any difference.
   */
  public void checkIntegrity(Iterable<BlockTable> tables) {
    ledger.checkIntegrity();
    prefixes.checkIntegrity();
    int[] holders = new int[capacity()];
    int recount = 0;
    for (BlockTable table : tables) {
      for (int i = table.first(); i < table.count(); i++) {
        checkHeld(table, i);
        holders[table.blocks()[i]]++;
        recount++;
      }
    }
    for (int block = 0; block < holders.length; block++) {
      if (ledger.holders(block) != holders[block]) {
        throw new IllegalStateException(
            "pool: %s (expected: in the tables of %d sessions)"
                .formatted(ledger.describe(block), holders[block]));
      }
      if (prefixes.isIdle(block) != (ledger.state(block) == State.CACHED)) {
        throw new IllegalStateException(
            "pool: %s, idle %s in the prefix cache (expected: the same)"
                .formatted(ledger.describe(block), prefixes.isIdle(block)));
      }
    }
    if (holds != recount) {
      throw new IllegalStateException(
          "pool: %d holds (expected: %d, recounted)".formatted(holds, recount));
    }
  }

  private void checkHeld(BlockTable table, int index) {
    int block = table.blocks()[index];
    boolean waits = table.isReserved() && index >= table.shared();
    State expected = waits ? State.RESERVED : State.OWNED;
    if (!ledger.holds(table.session(), block) || ledger.state(block) != expected) {
      throw new IllegalStateException(
          "pool: %s (expected: %s by session %s as its block %d)"
              .formatted(ledger.describe(block), expected, table.session(), index));
    }
    if (index >= table.shared() && index >= table.published() && prefixes.isPublished(block)) {
      throw new IllegalStateException(
          "pool: %s of session %s is published (expected: not before it is full)"
              .formatted(ledger.describe(block), table.session()));
    }
  }

  private void claimUpTo(BlockTable table, int wanted, State as, Reason reason) {
    while (table.count() < wanted) {
      if (ledger.count(State.FREE) == 0) {
        ledger.evict(prefixes.takeOldestIdle());
      }
      table.add(ledger.claim(table.session(), as, reason));
      holds++;
    }
  }
}
