package dev.baton.engine.cache;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.engine.SessionId;
import dev.baton.engine.cache.BlockLedger.State;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class SwapSpaceTest {

  private static final int BLOCK = 4;
  private static final int BLOCKS = 16;
  private static final int ALL = Integer.MAX_VALUE;
  private static final long PAGE = BLOCK * (long) Integer.BYTES;

  /** One number for each position of the pool. */
  private final int[] kv = new int[BLOCKS * BLOCK];

  private final BlockPool pool =
      new BlockPool(BLOCKS, "model", Window.none(BLOCK), System::nanoTime);
  private final SwapSpace swap =
      new SwapSpace(5 * PAGE + 1, PAGE, BLOCK, new Numbers(), System::nanoTime);

  @AfterEach
  void close() {
    swap.checkIntegrity();
    swap.close();
  }

  @Test
  void whatWentComesBackIntoOtherBlocks() {
    BlockTable table = filled("a", 11);
    write(table, 11);
    assertThat(swap.keep(table, 10)).isTrue();
    assertThat(swap.used()).isEqualTo(3);
    assertThat(swap.tokens(table.session())).isEqualTo(10);
    pool.release(table);
    filled("other", 5);
    Arrays.fill(kv, -1);

    fill(table, 11, 10);
    swap.bring(table, ALL);

    assertThat(read(table, 10)).containsExactly(IntStream.range(100, 110).toArray());
    assertThat(kv[table.blocks()[2] * BLOCK + 2]).as("beyond what was kept").isEqualTo(-1);
    assertThat(swap.used()).isZero();
  }

  @Test
  void whatThePrefixCacheStillHasIsNotCopiedBack() {
    BlockTable table = filled("a", 11);
    write(table, 11);
    pool.publish(table, tokens(), 8);
    swap.keep(table, 10);
    pool.release(table);
    for (int position = 0; position < 8; position++) {
      kv[position] = 500 + position;
    }

    fill(table, 11, 10);
    swap.bring(table, ALL);

    assertThat(table.shared()).isEqualTo(2);
    assertThat(read(table, 10)).startsWith(500, 501).endsWith(108, 109);
  }

  @Test
  void whatIsCopiedAheadIsNotCopiedAgain() {
    BlockTable table = filled("a", 14);
    write(table, 14);
    swap.copyAhead(table, 9, 1);
    swap.copyAhead(table, 9, 5);
    assertThat(swap.leftToCopy(table, 9)).isZero();
    assertThat(swap.used()).as("full blocks").isEqualTo(2);
    assertThat(swap.tokens(table.session())).isZero();
    assertThat(swap.sessions()).isZero();
    assertThat(swap.sessionsAhead()).isEqualTo(1);
    for (int position = 0; position < 8; position++) {
      kv[slot(table.blocks(), position)] = -2;
    }
    assertThat(swap.keep(table, 13)).isTrue();
    assertThat(swap.used()).isEqualTo(4);
    assertThat(swap.sessionsAhead()).isZero();
    pool.release(table);
    Arrays.fill(kv, -1);

    fill(table, 14, 13);
    swap.bring(table, ALL);

    assertThat(read(table, 13)).containsExactly(IntStream.range(100, 113).toArray());
    assertThat(swap.used()).isZero();
  }

  @Test
  void comesBackInPiecesAndKeepsItsPagesUntilTheLast() {
    BlockTable table = filled("a", 14);
    write(table, 14);
    swap.keep(table, 13);
    pool.release(table);
    Arrays.fill(kv, -1);

    fill(table, 14, 13);
    assertThat(swap.leftToBring(table)).isEqualTo(4);
    assertThat(swap.bring(table, 0)).isZero();
    assertThat(swap.isPartlyBack(table.session())).isFalse();
    assertThat(swap.bring(table, 3)).isEqualTo(3);
    assertThat(swap.isPartlyBack(table.session())).isTrue();
    assertThat(swap.leftToBring(table)).isEqualTo(1);
    assertThat(swap.tokens(table.session())).isEqualTo(13);
    assertThat(swap.used()).isEqualTo(4);
    swap.checkIntegrity();
    assertThat(read(table, 13)).endsWith(-1).startsWith(100, 101);
    assertThat(swap.bring(table, 3)).isEqualTo(1);

    assertThat(read(table, 13)).containsExactly(IntStream.range(100, 113).toArray());
    assertThat(swap.used()).isZero();
    assertThat(swap.sessions()).isZero();
  }

  @Test
  void whoLosesItsBlocksOnTheWayBackGetsAllOfItsKvLater() {
    BlockTable table = filled("a", 14);
    write(table, 14);
    swap.keep(table, 13);
    pool.release(table);
    fill(table, 14, 13);
    swap.bring(table, 2);
    swap.bringAnew(table.session());
    pool.release(table);
    filled("other", 7);
    Arrays.fill(kv, -1);

    fill(table, 14, 13);
    assertThat(swap.bring(table, ALL)).isEqualTo(4);
    assertThat(read(table, 13)).containsExactly(IntStream.range(100, 113).toArray());
    assertThatThrownBy(() -> swap.bringAnew(table.session()))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("a");
  }

  @Test
  void whatThePrefixCacheHasAllOfNeedsNoCopy() {
    BlockTable table = filled("a", 11);
    pool.publish(table, tokens(), 8);
    swap.keep(table, 8);
    pool.release(table);
    fill(table, 11, 8);
    assertThat(swap.leftToBring(table)).isZero();
    assertThat(swap.bring(table, 0)).isZero();
    assertThat(swap.used()).isZero();
  }

  @Test
  void nothingIsCopiedAheadThatCouldNotBeKept() {
    BlockTable table = filled("a", 24);
    swap.copyAhead(table, 23, 2);
    assertThat(swap.used()).isZero();
    swap.copyAhead(table, 20, 2);
    assertThat(swap.used()).isEqualTo(1); // new memory: one page at a time
    swap.copyAhead(table, 20, 2);
    assertThat(swap.used()).isEqualTo(2);
    swap.forget(table.session());
    assertThat(swap.used()).isZero();
    assertThatThrownBy(() -> swap.bring(table, ALL)).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void takesAllOfASessionOrNothing() {
    assertThat(swap.capacity()).isEqualTo(5);
    BlockTable first = filled("a", 12);
    BlockTable second = filled("b", 12);
    assertThat(swap.keep(first, 12)).isTrue();
    assertThat(swap.keep(second, 12)).isFalse();
    assertThat(swap.used()).isEqualTo(3);
    assertThat(swap.keep(second, 8)).isTrue();
    swap.forget(first.session());
    assertThat(swap.used()).isEqualTo(2);
    assertThat(swap.sessions()).isEqualTo(1);
    swap.forget(first.session());
    assertThat(swap.used()).isEqualTo(2);
  }

  @Test
  void keepsASessionOnceAndBringsNobodyElse() {
    BlockTable table = filled("a", 4);
    swap.keep(table, 4);
    assertThatThrownBy(() -> swap.keep(table, 4))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("a");
    assertThatThrownBy(() -> swap.bring(filled("b", 4), ALL))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("b");
  }

  @Test
  void withoutMemoryNobodyIsKept() {
    try (SwapSpace none = new SwapSpace(0, PAGE, BLOCK, new Numbers(), System::nanoTime)) {
      assertThat(none.keep(filled("a", 1), 1)).isFalse();
      none.checkIntegrity();
    }
  }

  private BlockTable filled(String name, int positions) {
    BlockTable table = pool.open(new SessionId(name, 1), name);
    fill(table, positions, 0);
    return table;
  }

  private void fill(BlockTable table, int positions, int resume) {
    assertThat(pool.fill(table, tokens(), positions, positions, resume, 0, State.OWNED))
        .isNotNegative();
  }

  private static int[] tokens() {
    return IntStream.range(0, 64).toArray();
  }

  private void write(BlockTable table, int count) {
    for (int position = 0; position < count; position++) {
      kv[slot(table.blocks(), position)] = 100 + position;
    }
  }

  private int[] read(BlockTable table, int count) {
    return IntStream.range(0, count).map(i -> kv[slot(table.blocks(), i)]).toArray();
  }

  private static int slot(int[] blocks, int position) {
    return blocks[position / BLOCK] * BLOCK + position % BLOCK;
  }

  private final class Numbers implements SwapSpace.Copier {
    @Override
    public void copyOut(int[] blocks, int from, int to, MemorySegment page) {
      for (int position = from; position < to; position++) {
        page.setAtIndex(ValueLayout.JAVA_INT, position - from, kv[slot(blocks, position)]);
      }
    }

    @Override
    public void copyIn(int[] blocks, int from, int to, MemorySegment page) {
      for (int position = from; position < to; position++) {
        kv[slot(blocks, position)] = page.getAtIndex(ValueLayout.JAVA_INT, position - from);
      }
    }
  }
}
