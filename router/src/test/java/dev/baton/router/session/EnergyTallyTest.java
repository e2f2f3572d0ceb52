package dev.baton.router.session;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.worker.v1.SampledToken;
import org.junit.jupiter.api.Test;

class EnergyTallyTest {

  private final EnergyTally tally = new EnergyTally();

  private static SampledToken drawn(double joules) {
    return SampledToken.newBuilder().setJoules((float) joules).build();
  }

  @Test
  void addsTheLastWordOfEachWorkerOfEachAttempt() {
    assertThat(tally.joules()).isNegative();
    tally.add(1, true, drawn(8));
    assertThat(tally.joules()).isEqualTo(8);
    tally.add(1, false, drawn(0.5));
    tally.add(1, false, drawn(1));
    assertThat(tally.joules()).isEqualTo(9);
    tally.add(2, false, drawn(4));
    tally.add(2, false, drawn(4.5));
    assertThat(tally.joules()).isEqualTo(13.5);
  }

  @Test
  void isNotKnownWhenOneWorkerDoesNotTell() {
    tally.add(1, true, drawn(8));
    tally.add(1, false, SampledToken.getDefaultInstance());
    tally.add(1, false, drawn(1));
    assertThat(tally.joules()).isNegative();
  }
}
