package dev.baton.bench.handoff;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;

class HandoffReportTest {
  private static final HandoffPlan PLAN = HandoffPlan.llama8b(1000, 2 << 20, 3);

  @Test
  void theShareComparesRatesOfMediansThoughPlainMessagesAreWhole() {
    assertThat(PLAN.bytes()).isEqualTo(1000L * 128 * 1024);
    assertThat(PLAN.messages()).isEqualTo(63);
    HandoffReport report =
        new HandoffReport(
            PLAN,
            131_072,
            List.of(0.9, 1.008, 1.1),
            List.of(2.0, 1.9, 5.0),
            List.of(1e-5, 1e-5, 1e-5),
            List.of(1e-4, 2e-4, 3e-4));
    assertThat(report.share()).isCloseTo(0.5, within(1e-9));
    assertThat(report.text()).contains("share of plain: 50 %").contains("| hand-off ");
    assertThat(report.json()).contains("\"share_of_plain\"");
  }
}
