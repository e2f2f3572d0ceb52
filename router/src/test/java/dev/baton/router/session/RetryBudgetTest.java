package dev.baton.router.session;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

final class RetryBudgetTest {

  private final AtomicLong nanos = new AtomicLong();
  private final RetryBudget budget = new RetryBudget(nanos::get);

  @Test
  void stormIsBoundedAndTimeLetsFewThrough() {
    assertThat(withdrawn(1000)).isEqualTo((int) RetryBudget.MOST);
    nanos.addAndGet(Duration.ofSeconds(2).toNanos());
    assertThat(withdrawn(1000)).isEqualTo((int) (2 * RetryBudget.FLOOR_PER_SECOND));
  }

  @Test
  void requestsPayForAShareOfRetries() {
    withdrawn(1000);
    for (int i = 0; i < 50; i++) {
      budget.deposit();
    }
    assertThat(withdrawn(1000)).isBetween(9, 10);
  }

  @Test
  void quietTimeSavesNoStormUp() {
    nanos.addAndGet(Duration.ofHours(1).toNanos());
    assertThat(withdrawn(1000)).isEqualTo((int) RetryBudget.MOST);
  }

  private int withdrawn(int tries) {
    int granted = 0;
    for (int i = 0; i < tries; i++) {
      granted += budget.withdraw() ? 1 : 0;
    }
    return granted;
  }
}
