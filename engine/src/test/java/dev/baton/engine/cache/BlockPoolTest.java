package dev.baton.engine.cache;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.engine.SessionId;
import dev.baton.engine.cache.BlockLedger.State;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class BlockPoolTest {

  private static final int BLOCK = 16;
  private static final String MODEL = "model";

  private final BlockPool pool = new BlockPool(6, MODEL, Window.none(BLOCK), System::nanoTime);
  private final List<BlockTable> tables = new ArrayList<>();
  private int names;

  @AfterEach
  void recount() {
    pool.checkIntegrity(tables);
  }

  @Test
  void aReleasedPrefixIsFoundAgainUpToTheLastFullBlockBeforeTheLastToken() {
    int[] tokens = tokens(3 * BLOCK);
    compute(tokens, "");

    BlockTable again = fill(tokens, 3 * BLOCK, "", true);

    // The third block is there too, but the last token must be computed for its logits.
    assertThat(again.shared()).isEqualTo(2);
    assertThat(again.count()).isEqualTo(3);
  }

  @Test
  void aLivingSessionsBlocksAreSharedAndCountedOnce() {
    int[] tokens = tokens(2 * BLOCK + 1);
    BlockTable first = fill(tokens, 2 * BLOCK + 1, "", true);
    pool.publish(first, tokens, 2 * BLOCK + 1);

    BlockTable second = fill(tokens, 2 * BLOCK + 1, "", true);

    assertThat(second.shared()).isEqualTo(2);
    assertThat(pool.snapshot().owned()).isEqualTo(4);
    assertThat(Arrays.copyOf(second.blocks(), 2)).isEqualTo(Arrays.copyOf(first.blocks(), 2));
  }

  @Test
  void prefixesAreNotSharedOverSaltsOrFingerprints() {
    int[] tokens = tokens(2 * BLOCK);
    compute(tokens, "anna");
    assertThat(fill(tokens, 2 * BLOCK, "bert", true).shared()).isZero();
    assertThat(new BlockHasher("a", BLOCK).root("bc"))
        .isNotEqualTo(new BlockHasher("ab", BLOCK).root("c"));
  }

  @Test
  void aPrefixMatchesOnlyFromItsBeginning() {
    int[] tokens = tokens(3 * BLOCK);
    compute(tokens, "");
    int[] changed = tokens.clone();
    changed[0]++;
    assertThat(fill(changed, 3 * BLOCK, "", true).shared()).isZero();
    int[] changedLater = tokens.clone();
    changedLater[BLOCK]++;
    assertThat(fill(changedLater, 3 * BLOCK, "", true).shared()).isEqualTo(1);
  }

  @Test
  void onlyComputedFullBlocksArePublished() {
    int[] tokens = tokens(2 * BLOCK);
    BlockTable table = fill(tokens, 2 * BLOCK, "", true);
    pool.publish(table, tokens, 2 * BLOCK - 1);
    assertThat(fill(tokens, 2 * BLOCK, "", true).shared()).isEqualTo(1);
  }

  @Test
  void theOldestPrefixIsGivenUpFirstAndOfOnePrefixItsEnd() {
    int[] old = tokens(2 * BLOCK + 1);
    int[] recent = IntStream.range(0, 2 * BLOCK + 1).map(i -> 1000 + i).toArray();
    compute(old, "");
    compute(recent, "");
    assertThat(pool.snapshot().cached()).isEqualTo(4);

    release(fill(tokens(1), 3 * BLOCK, "x", true));

    assertThat(pool.snapshot().cached()).isEqualTo(3);
    BlockTable oldAgain = fill(old, 2 * BLOCK, "", true);
    assertThat(oldAgain.shared()).isEqualTo(1);
    release(oldAgain);
    assertThat(fill(recent, 2 * BLOCK + 1, "", true).shared()).isEqualTo(2);
  }

  @Test
  void fillingTakesAllItNeedsOrChangesNothing() {
    int[] tokens = tokens(2 * BLOCK + 1);
    compute(tokens, "");
    BlockTable big = fill(tokens(1), 4 * BLOCK, "x", true);

    // Two blocks are cached, none is free: the hits cannot also serve as room.
    BlockTable refused = pool.open(new SessionId("refused", 1), "");
    assertThat(pool.fill(refused, tokens, 2 * BLOCK + 1, 2 * BLOCK + 1, 0, 0, State.OWNED))
        .isNegative();

    assertThat(refused.count()).isZero();
    assertThat(pool.snapshot().cached()).isEqualTo(2);
    assertThat(big.count()).isEqualTo(4);
  }

  @Test
  void whatIsToBeSparedIsSpared() {
    assertThat(tryFill(tokens(1), 5 * BLOCK, 2)).isFalse();
    assertThat(tryFill(tokens(1), 4 * BLOCK, 2)).isTrue();
  }

  @Test
  void twoSessionsThatComputeTheSameShareFromThenOn() {
    int[] tokens = tokens(BLOCK + 1);
    BlockTable one = fill(tokens, BLOCK + 1, "", true);
    BlockTable two = fill(tokens, BLOCK + 1, "", true);
    pool.publish(one, tokens, BLOCK + 1);
    pool.publish(two, tokens, BLOCK + 1);
    release(two);
    assertThat(pool.snapshot().cached()).isZero();
    release(one);
    assertThat(pool.snapshot().cached()).isEqualTo(1);
  }

  @Test
  void aReservationCountsAsReservedExceptForWhatIsThereAlready() {
    int[] tokens = tokens(3 * BLOCK);
    compute(Arrays.copyOf(tokens, BLOCK), "");

    BlockTable table = pool.open(new SessionId("importer", 1), "");
    tables.add(table);
    assertThat(pool.fill(table, tokens, 3 * BLOCK, 3 * BLOCK, 3 * BLOCK, 0, State.RESERVED))
        .isEqualTo(BLOCK);

    assertThat(pool.snapshot().reserved()).isEqualTo(2);
    assertThat(pool.snapshot().owned()).isEqualTo(1);
    pool.settle(table, BLOCK);
    assertThat(pool.snapshot().reserved()).isZero();
    assertThat(pool.snapshot().owned()).isEqualTo(3);
  }

  @Test
  void nobodyFindsTheKvOfAnUntrustedSession() {
    int[] tokens = tokens(2 * BLOCK + 1);
    BlockTable table = fill(tokens, 2 * BLOCK + 1, "", true);
    pool.publish(table, tokens, 2 * BLOCK + 1);
    BlockTable sharer = fill(tokens, 2 * BLOCK + 1, "", true);
    tables.remove(table);
    pool.releaseUntrusted(table);

    assertThat(fill(tokens, 2 * BLOCK, "", true).shared()).isZero();
    assertThat(sharer.shared()).isEqualTo(2);
    release(sharer);
    assertThat(pool.snapshot().cached()).isZero();
  }

  @Test
  void integrityNamesABlockThatNoTableHolds() {
    BlockTable lost = fill(tokens(1), BLOCK, "", true);
    assertThatThrownBy(() -> pool.checkIntegrity(List.of()))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("block " + lost.blocks()[0])
        .hasMessageContaining(lost.session().toString());
  }

  private void compute(int[] tokens, String salt) {
    BlockTable table = fill(tokens, tokens.length, salt, true);
    pool.publish(table, tokens, tokens.length);
    release(table);
  }

  private void release(BlockTable table) {
    tables.remove(table);
    pool.release(table);
  }

  private BlockTable fill(int[] tokens, int positions, String salt, boolean expected) {
    BlockTable table = pool.open(new SessionId("s" + names++, 1), salt);
    boolean filled =
        pool.fill(table, tokens, Math.min(tokens.length, positions), positions, 0, 0, State.OWNED)
            >= 0;
    assertThat(filled).isEqualTo(expected);
    tables.add(table);
    return table;
  }

  private boolean tryFill(int[] tokens, int positions, int spare) {
    BlockTable table = pool.open(new SessionId("s" + names++, 1), "");
    boolean filled = pool.fill(table, tokens, tokens.length, positions, 0, spare, State.OWNED) >= 0;
    tables.add(table);
    return filled;
  }

  private static int[] tokens(int count) {
    return IntStream.range(0, count).toArray();
  }
}
