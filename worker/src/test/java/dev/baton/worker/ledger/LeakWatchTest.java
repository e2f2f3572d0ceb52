package dev.baton.worker.ledger;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.SessionId;
import dev.baton.worker.ledger.Holding.What;
import dev.baton.worker.ledger.LeakWatch.Claimants;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class LeakWatchTest {

  private static final SessionId ANNA = new SessionId("anna", 2);
  private static final Claimants NOBODY = new Claimants(Map.of());
  private static final Claimants CALLED = new Claimants(Map.of(ANNA, false));
  private static final Claimants ENDED = new Claimants(Map.of(ANNA, true));

  private final LeakWatch watch = new LeakWatch();
  private long now = 7_000_000_000L;

  private static Holding held(What what) {
    return new Holding(ANNA, what, "HANDOFF", 3, 2_000_000_000L);
  }

  private List<Holding> look(What what, Claimants claimants) {
    return watch.look(List.of(held(what)), claimants, now);
  }

  private void pass(Duration time) {
    now += time.toNanos();
  }

  @Test
  void whatAnOpenCallHoldsIsNoLeakHoweverOldItIs() {
    look(What.BLOCKS, CALLED);
    pass(Duration.ofHours(1));
    assertThat(look(What.BLOCKS, CALLED)).isEmpty();
    assertThat(look(What.SENDING_SLABS, CALLED)).isEmpty();
    assertThat(watch.suspects()).isFalse();
  }

  @Test
  void blocksAndPagesOfASessionThatNoCallHasAreLeakedAtOnceAndNamed() {
    assertThat(look(What.BLOCKS, NOBODY)).containsExactly(held(What.BLOCKS));
    assertThat(look(What.PAGES, NOBODY)).containsExactly(held(What.PAGES));
    assertThat(held(What.BLOCKS).describe(now))
        .isEqualTo("3 blocks of session anna/2 for 5.000 s as HANDOFF");
  }

  @Test
  void theSameSessionUnderAnotherEpochDoesNotAnswerForItsBlocks() {
    Claimants later = new Claimants(Map.of(new SessionId("anna", 3), false));
    assertThat(look(What.BLOCKS, later)).hasSize(1);
  }

  @Test
  void slabsOfASessionThatMovesAreItsOwnUnderTheNextEpoch() {
    Claimants earlier = new Claimants(Map.of(new SessionId("anna", 1), false));
    look(What.SENDING_SLABS, earlier);
    pass(LeakWatch.SLABS);
    assertThat(look(What.SENDING_SLABS, earlier)).isEmpty();
  }

  @Test
  void theNetworkMayKeepSlabsForAWhile() {
    assertThat(look(What.LANDING_SLABS, NOBODY)).isEmpty();
    assertThat(watch.suspects()).isTrue();
    pass(LeakWatch.SLABS.minusNanos(1));
    assertThat(look(What.LANDING_SLABS, NOBODY)).isEmpty();
    pass(Duration.ofNanos(1));
    assertThat(look(What.LANDING_SLABS, NOBODY)).hasSize(1);
  }

  @Test
  void aSessionWhoseCallHasEndedMayWaitForItsTransfersLastWord() {
    look(What.BLOCKS, CALLED);
    pass(Duration.ofMinutes(5));
    assertThat(look(What.BLOCKS, ENDED)).isEmpty();
    pass(LeakWatch.ENDING);
    assertThat(look(What.BLOCKS, ENDED)).hasSize(1);
  }

  @Test
  void aLeakIsCountedOnceAndForgottenWhenItIsGivenBack() {
    look(What.BLOCKS, NOBODY);
    look(What.BLOCKS, NOBODY);
    assertThat(watch.found()).isEqualTo(1);
    assertThat(watch.look(List.of(), NOBODY, now)).isEmpty();
    assertThat(watch.suspects()).isFalse();
    look(What.BLOCKS, NOBODY);
    assertThat(watch.found()).isEqualTo(2);
  }
}
