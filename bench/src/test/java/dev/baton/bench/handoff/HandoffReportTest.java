package dev.baton.bench.handoff;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.baton.bench.handoff.HandoffReport.Kind;
import java.util.List;
import org.junit.jupiter.api.Test;

class HandoffReportTest {
  private static final HandoffPlan PLAN = HandoffPlan.llama8b(1000, 2 << 20, 3);

  @Test
  void theShareComparesRatesOfMediansThoughPlainMessagesAreWhole() {
    assertThat(PLAN.bytes()).isEqualTo(1000L * 128 * 1024);
    assertThat(PLAN.messages()).isEqualTo(63);
    HandoffReport.Samples rounds = new HandoffReport.Samples();
    List.of(0.9, 1.008, 1.1).forEach(seconds -> rounds.add(Kind.PLAIN, seconds));
    List.of(2.0, 1.9, 5.0).forEach(seconds -> rounds.add(Kind.HANDOFF, seconds));
    for (Kind kind : Kind.values()) {
      if (rounds.of(kind).isEmpty()) {
        rounds.addAll(only(kind, 0.25));
      }
    }
    HandoffReport report = new HandoffReport(PLAN, 131_072, rounds);
    assertThat(report.share()).isCloseTo(0.5, within(1e-9));
    assertThat(report.bound())
        .as("the wire's second and four quarters, over two processors")
        .isCloseTo(1, within(1e-9));
    assertThat(report.text()).contains("share of plain: 50 %").contains("| hand-off ");
    assertThat(report.json()).contains("\"share_of_plain\"");
  }

  private static HandoffReport.Samples only(Kind kind, double seconds) {
    HandoffReport.Samples samples = new HandoffReport.Samples();
    samples.add(kind, seconds);
    return samples;
  }
}
