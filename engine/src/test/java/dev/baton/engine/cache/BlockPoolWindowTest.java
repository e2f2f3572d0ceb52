package dev.baton.engine.cache;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.SessionId;
import dev.baton.engine.cache.BlockLedger.State;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Blocks of a model whose layers all look back over a window of 40 positions. */
class BlockPoolWindowTest {

  private static final int BLOCK = 16;
  private static final Window WINDOW = new Window(40, BLOCK, 24);

  private final BlockPool pool = new BlockPool(12, "model", WINDOW, System::nanoTime);
  private final List<BlockTable> tables = new ArrayList<>();

  @AfterEach
  void recount() {
    pool.checkIntegrity(tables);
    for (BlockTable table : tables) {
      pool.release(table);
    }
    pool.checkIntegrity(tables);
    assertThat(pool.snapshot().closed()).isTrue();
  }

  @Test
  void aWindowAndAChunkFitItsBlocksHoweverTheyLie() {
    for (int computed = 0; computed < 200; computed++) {
      int end = (WINDOW.firstBlock(computed) + WINDOW.mostBlocks()) * BLOCK;
      assertThat(end).isGreaterThanOrEqualTo(computed + 24);
    }
    assertThat(WINDOW.mostBlocks()).isEqualTo(5);
    assertThat(pool.blocksFor(1000)).isEqualTo(5);
  }

  @Test
  void aLongSessionHoldsItsWindowOnlyAndNeverLacksTheNextBlock() {
    BlockTable table = fill(300, 0);
    fill(300, 1);
    assertThat(pool.available()).isEqualTo(2);
    compute(table, 300, 0);
    assertThat(table.count()).isEqualTo(19);
    assertThat(table.first()).isEqualTo((299 - 40 + 1) / BLOCK);
    assertThat(pool.snapshot().owned()).isLessThanOrEqualTo(10);
  }

  @Test
  void aSharedBlockIsPaidByEachSoThatADropPaysForAClaim() {
    BlockTable first = fill(300, 0);
    compute(first, 80, 0);
    BlockTable second = fill(300, 0);
    assertThat(second.shared()).isGreaterThan(second.first());
    // Each drops blocks that the other still holds, and yet gets its next ones.
    compute(second, 300, 0);
    compute(first, 300, 0);
  }

  @Test
  void aPrefixIsOfUseAsSoonAsItsLastWindowIsThere() {
    BlockTable table = fill(100, 0);
    compute(table, 97, 0);
    release(table);
    // Others' blocks push out the oldest prefixes, those that were behind the window.
    fill(80, 1);
    release(fill(64, 2));
    assertThat(pool.snapshot().cached()).isEqualTo(3);

    BlockTable again = pool.open(new SessionId("again", 1), "");
    tables.add(again);
    int present = pool.fill(again, tokens(0), 100, 100, 0, 0, State.OWNED);

    assertThat(present).isEqualTo(96);
    assertThat(again.first()).isEqualTo((96 - 40 + 1) / BLOCK);
    assertThat(again.shared()).isEqualTo(6);
  }

  @Test
  void aHandOffBringsTheWindowAndTheBlockThatItFillsInPartIsNotForOthers() {
    BlockTable table = pool.open(new SessionId("importer", 1), "");
    tables.add(table);
    int present = pool.fill(table, tokens(0), 100, 101, 100, 0, State.RESERVED);
    assertThat(present).isEqualTo(61);
    assertThat(table.first()).isEqualTo(3);
    assertThat(pool.snapshot().reserved()).isEqualTo(4);
    pool.settle(table, 61);
    pool.publish(table, tokens(0), 100);
    release(table);
    // Positions 48 to 60 of the block from 48 on never came.
    assertThat(pool.snapshot().cached()).isEqualTo(2);
  }

  @Test
  void aHandOffThatBeginsLaterLeavesBlocksThatAreNotForOthers() {
    BlockTable table = pool.open(new SessionId("importer", 1), "");
    tables.add(table);
    pool.fill(table, tokens(0), 100, 120, 100, 0, State.RESERVED);
    // The context has grown by 19 tokens meanwhile, and the window of its end begins at 80.
    pool.settle(table, 80);
    pool.publish(table, tokens(0), 119);
    release(table);
    assertThat(pool.snapshot().cached()).isEqualTo(2);
  }

  @Test
  void whatAReaderNeedsStaysUntilHeLetsGo() {
    BlockTable table = fill(300, 0);
    compute(table, 100, 0);
    pool.keep(table, 100);
    int first = (100 - 40 + 1) / BLOCK;
    for (int position = 100; position < 150; position++) {
      assertThat(pool.extend(table, position, position + 1)).isTrue();
      pool.keep(table, position);
    }
    assertThat(table.first()).isEqualTo(first);
    assertThat(table.count() * BLOCK).isGreaterThanOrEqualTo(150);
    pool.letGo(table, 150);
    assertThat(table.first()).isEqualTo((150 - 40 + 1) / BLOCK);
    assertThat(table.keeps()).isFalse();
  }

  @Test
  void aPrefixForTheCacheIsTheWindowOfItsEndInWholeBlocks() {
    BlockTable table = pool.open(new SessionId("fetch", 1), "");
    tables.add(table);
    table.wantWholeBlocks();
    // 98 tokens are six blocks and a little; after the six the window begins at 57.
    int present = pool.fill(table, tokens(0), 98, 98, 98, 0, State.RESERVED);
    assertThat(present).isEqualTo(48);
    pool.settle(table, 48);
    pool.publish(table, tokens(0), 98);
    release(table);
    assertThat(pool.snapshot().cached()).isEqualTo(3);

    BlockTable found = pool.open(new SessionId("found", 1), "");
    tables.add(found);
    assertThat(pool.fill(found, tokens(0), 98, 98, 0, 0, State.OWNED)).isEqualTo(96);
  }

  @Test
  void aPrefixIsPinnedWithTheWindowOfItsEnd() {
    BlockTable computed = fill(100, 0);
    compute(computed, 97, 0);
    release(computed);
    BlockTable pinned = pool.open(new SessionId("pinned", 1), "");
    tables.add(pinned);
    assertThat(pool.pin(pinned, tokens(0), 96, 0)).isEqualTo(96);
    assertThat(pinned.first()).isEqualTo((96 - 40 + 1) / BLOCK);
    assertThat(pinned.held()).isEqualTo(3);
    BlockTable none = pool.open(new SessionId("none", 1), "");
    assertThat(pool.pin(none, tokens(1), 96, 0)).isZero();
    assertThat(none.held()).isZero();
  }

  @Test
  void anUntrustedSessionsDroppedBlocksAreNotFoundEither() {
    BlockTable table = fill(200, 0);
    compute(table, 200, 0);
    tables.remove(table);
    pool.releaseUntrusted(table);
    assertThat(pool.snapshot().cached()).isZero();
    assertThat(pool.snapshot().free()).isEqualTo(12);
  }

  private BlockTable fill(int length, int stem) {
    BlockTable table = pool.open(new SessionId("s" + tables.size(), 1), "");
    assertThat(pool.fill(table, tokens(stem), length, length, 0, 0, State.OWNED)).isNotNegative();
    tables.add(table);
    return table;
  }

  private void compute(BlockTable table, int to, int stem) {
    for (int done = Math.min(to, table.shared() * BLOCK); done < to; ) {
      assertThat(pool.extend(table, done, 300)).isTrue();
      done = Math.min(to, done + 24);
      assertThat(table.count() * BLOCK).isGreaterThanOrEqualTo(done);
      pool.publish(table, tokens(stem), done);
      pool.checkIntegrity(tables);
    }
    assertThat(pool.extend(table, to - 1, to)).isTrue();
  }

  private void release(BlockTable table) {
    tables.remove(table);
    pool.release(table);
  }

  private static int[] tokens(int stem) {
    return IntStream.range(0, 300).map(i -> i + 1000 * stem).toArray();
  }
}
