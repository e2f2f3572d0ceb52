package dev.baton.engine.cache;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.engine.LedgerSnapshot;
import dev.baton.engine.SessionId;
import dev.baton.engine.cache.BlockLedger.Reason;
import dev.baton.engine.cache.BlockLedger.State;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class BlockLedgerTest {

  private static final SessionId ANNA = new SessionId("anna", 1);
  private static final SessionId BERT = new SessionId("bert", 2);

  private long now = 5_000_000_000L;
  private final BlockLedger ledger = new BlockLedger(4, () -> now);

  @AfterEach
  void recount() {
    ledger.checkIntegrity();
  }

  @Test
  void everyBlockIsGivenOutOnce() {
    Set<Integer> blocks = new HashSet<>();
    for (int i = 0; i < 4; i++) {
      blocks.add(own(ANNA));
    }
    assertThat(blocks).containsExactlyInAnyOrder(0, 1, 2, 3);
    assertThatThrownBy(() -> own(BERT))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("bert/2");
  }

  @Test
  void aSharedBlockIsCountedOnceAndStaysUntilItsLastHolderGoes() {
    int block = own(ANNA);
    ledger.share(block, BERT);
    assertThat(ledger.snapshot()).isEqualTo(new LedgerSnapshot(1, 0, 0, 0, 3, 4, 0));

    assertThat(ledger.release(block, ANNA, true)).isFalse();
    assertThat(ledger.state(block)).isEqualTo(State.OWNED);
    assertThat(ledger.release(block, BERT, true)).isTrue();
    assertThat(ledger.state(block)).isEqualTo(State.CACHED);
  }

  @Test
  void releasingTwiceNamesBlockAndSessionEvenWhenSomeoneElseStillHoldsIt() {
    int block = own(ANNA);
    ledger.share(block, BERT);
    now += 1_500_000_000L;
    ledger.release(block, ANNA, true);

    assertThatThrownBy(() -> ledger.release(block, ANNA, true))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("block " + block)
        .hasMessageContaining("session anna/1")
        .hasMessageContaining("held by bert/2 for 1.500 s as PREFIX");
    assertThat(ledger.holds(BERT, block)).isTrue();
  }

  @Test
  void anotherSessionCannotReleaseABlock() {
    int block = own(ANNA);
    assertThatThrownBy(() -> ledger.release(block, BERT, false))
        .hasMessageContaining("by session bert/2");
  }

  @Test
  void aReservationIsSettledOnceAndThenOwned() {
    int block = ledger.claim(ANNA, State.RESERVED, Reason.HANDOFF);
    assertThat(ledger.snapshot()).isEqualTo(new LedgerSnapshot(0, 1, 0, 0, 3, 4, 0));
    assertThatThrownBy(() -> ledger.settle(block, BERT)).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> ledger.share(block, BERT)).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> ledger.release(block, ANNA, true))
        .isInstanceOf(IllegalStateException.class);

    ledger.settle(block, ANNA);

    assertThat(ledger.state(block)).isEqualTo(State.OWNED);
    assertThatThrownBy(() -> ledger.settle(block, ANNA)).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void aReservationThatIsGivenUpIsFree() {
    int block = ledger.claim(ANNA, State.RESERVED, Reason.HANDOFF);
    ledger.release(block, ANNA, false);
    assertThat(ledger.state(block)).isEqualTo(State.FREE);
  }

  @Test
  void aQuarantinedBlockIsNobodysUntilTheQuarantineEnds() {
    int block = ledger.claim(ANNA, State.RESERVED, Reason.HANDOFF);

    ledger.quarantine(block, ANNA);

    assertThat(ledger.snapshot()).isEqualTo(new LedgerSnapshot(0, 0, 0, 1, 3, 4, 0));
    assertThat(ledger.snapshot().closed()).isFalse();
    assertThatThrownBy(() -> ledger.release(block, ANNA, false))
        .isInstanceOf(IllegalStateException.class);
    ledger.endQuarantine(block);
    assertThat(ledger.snapshot().free()).isEqualTo(4);
    assertThatThrownBy(() -> ledger.endQuarantine(block)).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void anOwnedBlockCannotBeEvictedOrQuarantined() {
    int block = own(ANNA);
    assertThatThrownBy(() -> ledger.evict(block))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("held by anna/1");
    assertThatThrownBy(() -> ledger.quarantine(block, ANNA))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void aSessionSharesABlockOnce() {
    int block = own(ANNA);
    assertThatThrownBy(() -> ledger.share(block, ANNA)).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void theMiddleOfThreeHoldersMayLeaveFirst() {
    int block = own(ANNA);
    ledger.share(block, BERT);
    SessionId carl = new SessionId("carl", 1);
    ledger.share(block, carl);
    ledger.release(block, BERT, false);
    assertThat(ledger.holders(block)).isEqualTo(2);
    ledger.release(block, ANNA, false);
    assertThat(ledger.holds(carl, block)).isTrue();
  }

  @Test
  void tellsWhatEachSessionHoldsWhySinceWhen() {
    ledger.claim(BERT, State.RESERVED, Reason.HANDOFF);
    now += 2_000_000_000L;
    int shared = own(ANNA);
    own(ANNA);
    now += 500_000_000L;
    ledger.share(shared, BERT);

    assertThat(ledger.holdings())
        .extracting(held -> held.describe(now))
        .containsExactlyInAnyOrder(
            "1 blocks of session bert/2 for 2.500 s as HANDOFF",
            "1 blocks of session bert/2 for 0.000 s as PREFIX",
            "2 blocks of session anna/1 for 0.500 s as CONTEXT");
  }

  private int own(SessionId session) {
    return ledger.claim(session, State.OWNED, Reason.CONTEXT);
  }
}
