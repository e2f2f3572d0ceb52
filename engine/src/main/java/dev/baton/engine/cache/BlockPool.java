package dev.baton.engine.cache;

import dev.baton.engine.LedgerSnapshot;
import dev.baton.engine.SessionId;
import dev.baton.engine.cache.BlockLedger.Reason;
import dev.baton.engine.cache.BlockLedger.State;

/**
 * Hands blocks to sessions: finds the longest cached prefix, claims the rest, gives up the oldest
 * idle prefixes when free blocks run out, and publishes blocks as they fill. Changes ledger and
 * prefix cache together, so that a block is idle in the one exactly when it is CACHED in the other.
 *
 * <p>Only full blocks are shared and nobody writes a full block again, so blocks are never copied.
 * Each method that takes blocks takes all it needs or changes nothing. Step thread only.
 */
public final class BlockPool {

  private final BlockLedger ledger;
  private final PrefixCache prefixes;
  private final BlockHasher hasher;
  private final int blockTokens;

  /**
   * @param fingerprint of the model; part of every key
   */
  public BlockPool(int capacity, int blockTokens, String fingerprint) {
    this.ledger = new BlockLedger(capacity);
    this.prefixes = new PrefixCache(capacity);
    this.hasher = new BlockHasher(fingerprint, blockTokens);
    this.blockTokens = blockTokens;
  }

  public int capacity() {
    return ledger.capacity();
  }

  public int blockTokens() {
    return blockTokens;
  }

  /** Blocks that a session could get now: free ones and idle prefixes. */
  public int available() {
    return ledger.count(State.FREE) + prefixes.idle();
  }

  /** Blocks for so many token positions. */
  public int blocksFor(int positions) {
    return Math.ceilDiv(positions, blockTokens);
  }

  /** An empty table. */
  public BlockTable open(SessionId session, String salt) {
    return new BlockTable(session, hasher.root(salt));
  }

  public void beginStep(long number) {
    ledger.beginStep(number);
  }

  /**
   * Fills an empty table: shares the longest cached prefix of the tokens, and claims blocks up to
   * {@code positions}. At least the last token is left out of the prefix, for its logits are
   * needed.
   *
   * @param spare blocks that must still be available afterwards
   * @param as OWNED, or RESERVED for the claimed ones (shared ones are owned: their KV is there)
   * @return false when there are not enough blocks; nothing has changed then
   */
  public boolean fill(
      BlockTable table, int[] tokens, int length, int positions, int spare, State as) {
    if (table.count() != 0) {
      throw new IllegalStateException(
          "fill: table of session %s holds %d blocks (expected: none)"
              .formatted(table.session(), table.count()));
    }
    int wanted = blocksFor(positions);
    int hits = 0;
    int idleHits = 0;
    for (int most = (length - 1) / blockTokens; hits < most; hits++) {
      int block = prefixes.find(table.key(hits, tokens, blockTokens, hasher));
      if (block == PrefixCache.NONE) {
        break;
      }
      if (prefixes.isIdle(block)) {
        idleHits++;
      }
    }
    if (available() - idleHits - (wanted - hits) < spare) {
      return false;
    }
    for (int i = 0; i < hits; i++) {
      int block = prefixes.find(table.key(i, tokens, blockTokens, hasher));
      if (prefixes.isIdle(block)) {
        prefixes.markBusy(block);
      }
      ledger.share(block, table.session());
      table.add(block);
    }
    table.setShared(hits);
    table.setReserved(as == State.RESERVED);
    claimUpTo(table, wanted, as, as == State.RESERVED ? Reason.HANDOFF : Reason.CONTEXT);
    return true;
  }

  /**
   * Makes the table reach {@code positions}.
   *
   * @return false when there are not enough blocks; nothing has changed then
   */
  public boolean extend(BlockTable table, int positions) {
    int wanted = blocksFor(positions);
    if (wanted <= table.count()) {
      return true;
    }
    if (available() < wanted - table.count()) {
      return false;
    }
    claimUpTo(table, wanted, State.OWNED, Reason.GROWTH);
    return true;
  }

  /** The KV of a reserved table has arrived: its blocks are owned from now on. */
  public void settle(BlockTable table) {
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
    for (int i = table.count() - 1; i >= 0; i--) {
      int block = table.blocks()[i];
      boolean published = prefixes.isPublished(block);
      boolean last = ledger.release(block, table.session(), published);
      if (last && published) {
        prefixes.markIdle(block);
      }
    }
    table.clear();
  }

  /** As {@link #release}, for a session whose KV is in doubt: nobody is to find it. */
  public void releaseUntrusted(BlockTable table) {
    for (int i = 0; i < table.count(); i++) {
      prefixes.forget(table.blocks()[i]);
    }
    release(table);
  }

  public LedgerSnapshot snapshot() {
    return ledger.snapshot();
  }

  /**
   * Recounts every block against the tables of all living sessions and the prefix cache; throws
   * IllegalStateException on any difference.
   */
  public void checkIntegrity(Iterable<BlockTable> tables) {
    ledger.checkIntegrity();
    prefixes.checkIntegrity();
    int[] holders = new int[capacity()];
    for (BlockTable table : tables) {
      for (int i = 0; i < table.count(); i++) {
        checkHeld(table, i);
        holders[table.blocks()[i]]++;
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
    }
  }
}
