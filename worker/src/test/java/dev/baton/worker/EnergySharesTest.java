package dev.baton.worker;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.DeviceHealth;
import dev.baton.engine.EngineStatus;
import dev.baton.engine.LedgerSnapshot;
import dev.baton.worker.EnergyShares.Joules;
import java.util.List;
import org.junit.jupiter.api.Test;

class EnergySharesTest {

  private static DeviceHealth drawn(double... joules) {
    return new DeviceHealth(
        java.util.Arrays.stream(joules)
            .mapToObj(each -> new DeviceHealth.Chip("GPU", 40, 100, each, 0, List.of(), List.of()))
            .toList());
  }

  private static EngineStatus tokens(long prompts, long generated) {
    return new EngineStatus(
        0, 0, 0, new LedgerSnapshot(0, 0, 0, 0, 0, 0, 0), 0, prompts, generated, 0, 0, 0);
  }

  @Test
  void whatIsDrawnBetweenTwoLooksIsSharedByTheTokensOfThatTime() {
    EnergyShares shares = new EnergyShares();
    shares.look(drawn(1000, 500), tokens(70, 5));
    assertThat(shares.shared()).isEqualTo(Joules.NONE);
    shares.look(drawn(1060, 540), tokens(100, 15));
    assertThat(shares.shared()).isEqualTo(new Joules(75, 25, 0));
    shares.look(drawn(1070, 545), tokens(100, 15));
    assertThat(shares.shared()).isEqualTo(new Joules(75, 25, 15));
    shares.look(drawn(1070, 575), tokens(100, 18));
    assertThat(shares.shared()).isEqualTo(new Joules(75, 55, 15));
  }

  @Test
  void nothingIsSharedWhereNoChipTells() {
    EnergyShares shares = new EnergyShares();
    shares.look(DeviceHealth.UNKNOWN, tokens(0, 0));
    shares.look(DeviceHealth.UNKNOWN, tokens(9, 9));
    shares.look(drawn(4000), tokens(12, 9));
    assertThat(shares.shared()).isEqualTo(Joules.NONE);
  }

  @Test
  void aChipThatTellsNothingOrBeginsAnewIsNotCounted() {
    EnergyShares shares = new EnergyShares();
    shares.look(drawn(-1, 100), tokens(0, 0));
    shares.look(drawn(-1, 130), tokens(3, 0));
    shares.look(drawn(-1, 10), tokens(5, 0));
    assertThat(shares.shared()).isEqualTo(new Joules(30, 0, 0));
  }
}
