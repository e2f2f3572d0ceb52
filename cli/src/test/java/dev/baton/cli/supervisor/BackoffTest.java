package dev.baton.cli.supervisor;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("The pause before a restart")
class BackoffTest {

  private final Backoff backoff = new Backoff();

  @Test
  void doublesUpToALimit() {
    Duration before = backoff.after(Duration.ZERO);
    assertThat(before).isEqualTo(Backoff.FIRST);
    for (int i = 0; i < 20; i++) {
      Duration pause = backoff.after(Duration.ZERO);
      assertThat(pause).isGreaterThanOrEqualTo(before).isLessThanOrEqualTo(Backoff.LONGEST);
      before = pause;
    }
    assertThat(before).isEqualTo(Backoff.LONGEST);
  }

  @Test
  void startsOverAfterASteadyLife() {
    backoff.after(Duration.ZERO);
    backoff.after(Duration.ZERO);
    assertThat(backoff.after(Backoff.STEADY)).isEqualTo(Backoff.FIRST);
  }
}
