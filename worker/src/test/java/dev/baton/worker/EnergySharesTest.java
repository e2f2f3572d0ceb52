package dev.baton.worker;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.EngineStatus;
import dev.baton.engine.LedgerSnapshot;
import dev.baton.worker.EnergyShares.Joules;
import org.junit.jupiter.api.Test;

class EnergySharesTest {

  private static EngineStatus tokens(long prompts, long generated) {
    return new EngineStatus(
        0, 0, 0, new LedgerSnapshot(0, 0, 0, 0, 0, 0, 0), 0, prompts, generated, 0, 0, 0);
  }

  @Test
  void whatIsDrawnBetweenTwoLooksIsSharedByTheTokensOfThatTime() {
    EnergyShares shares = new EnergyShares();
    shares.look(1500, tokens(70, 5));
    assertThat(shares.shared()).isEqualTo(Joules.NONE);
    shares.look(1600, tokens(100, 15));
    assertThat(shares.shared()).isEqualTo(new Joules(75, 25, 0));
    shares.look(1615, tokens(100, 15));
    assertThat(shares.shared()).isEqualTo(new Joules(75, 25, 15));
    shares.look(1645, tokens(100, 18));
    assertThat(shares.shared()).isEqualTo(new Joules(75, 55, 15));
  }

  @Test
  void nothingIsSharedWhereNoChipTells() {
    EnergyShares shares = new EnergyShares();
    shares.look(-1, tokens(0, 0));
    shares.look(-1, tokens(9, 9));
    shares.look(4000, tokens(12, 9));
    assertThat(shares.shared()).isEqualTo(Joules.NONE);
  }

  @Test
  void aCounterThatBeginsAnewIsNotCounted() {
    EnergyShares shares = new EnergyShares();
    shares.look(100, tokens(0, 0));
    shares.look(130, tokens(3, 0));
    shares.look(10, tokens(5, 0));
    assertThat(shares.shared()).isEqualTo(new Joules(30, 0, 0));
  }
}
