package dev.baton.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.baton.device.DType;
import java.util.List;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Figures from times that are made up. */
class ReportTest {

  /** A token costs 2,000 operations and a step 3,000 bytes, and nothing else. */
  private static final Costs COSTS = new Costs(1000, 0, 1, 500, 0, 2, 0, List.of(0));

  /** 100 decode steps a second by memory. */
  private static final Ceilings CEILINGS = new Ceilings(DType.BFLOAT16, 300_000, 1e12);

  private static final Workload DECODE = new Workload.Decode(1, 0, 10);

  private static Measurement tenSteps(double seconds, double forward) {
    return new Measurement(10, 10, (long) (seconds * 1e9), (long) (forward * 1e9));
  }

  private static Result result(List<Double> peer) {
    return new Result(
        DECODE,
        COSTS,
        CEILINGS,
        List.of(tenSteps(0.2, 0.199), tenSteps(0.1, 0.0995), tenSteps(0.5, 0.4)),
        peer);
  }

  @Test
  void theMedianCountsAndTheExtremesAreTold() {
    Result result = result(List.of());
    assertThat(result.median()).isEqualTo(50);
    assertThat(result.least()).isEqualTo(20);
    assertThat(result.most()).isEqualTo(100);
  }

  @Test
  void theMedianOfAnEvenNumberOfRoundsIsTheMeanOfTheTwoInTheMiddle() {
    assertThat(Samples.median(List.of(4.0, 1.0, 10.0, 2.0))).isEqualTo(3);
  }

  @Test
  void theShareIsTheMedianOverTheLimit() {
    Result result = result(List.of());
    assertThat(result.limit()).isCloseTo(100, within(1e-9));
    assertThat(result.share()).isCloseTo(0.5, within(1e-9));
    assertThat(result.bound()).isEqualTo(Ceilings.Bound.MEMORY);
  }

  @Test
  void whatIsNotTheForwardPassIsToldPerStep() {
    assertThat(result(List.of()).outsideMicrosPerStep()).isCloseTo(100, within(1e-6));
  }

  @Test
  void theRatioIsOfMedians() {
    assertThat(result(List.of(20.0, 25.0, 100.0)).ratio()).isEqualTo(2);
  }

  @Test
  void theHigherOfTwoMeasuredCeilingsIsTheCeiling() {
    Ceilings best = CEILINGS.best(new Ceilings(DType.BFLOAT16, 200_000, 2e12));
    assertThat(best).isEqualTo(new Ceilings(DType.BFLOAT16, 300_000, 2e12));
  }

  @Test
  void theTableHasAPeerOnlyWhenThereIsOne() {
    assertThat(report(List.of()).text())
        .contains("| decode x1 at 0 |  50.0 | 20.0 | 100 |   100 |  50 % | memory |")
        .contains("load average 0.5 before, unknown after")
        .doesNotContain("ratio");
    assertThat(report(List.of(25.0)).text()).contains("| 25.0 |  2.00 |");
  }

  @Test
  void theJsonHasEveryRound() {
    JsonNode report = JsonMapper.shared().readTree(report(List.of(25.0)).json());
    JsonNode result = report.get("configurations").get(0).get("results").get(0);
    assertThat(result.get("rounds").size()).isEqualTo(3);
    assertThat(result.get("rounds").get(2).asDouble()).isEqualTo(20);
    assertThat(result.get("share").asDouble()).isCloseTo(0.5, within(1e-9));
    assertThat(result.get("ratio").asDouble()).isEqualTo(2);
    assertThat(report.get("machine").get("processors").asInt()).isEqualTo(2);
  }

  @Test
  void refusesAMeasurementOfNothing() {
    assertThatThrownBy(() -> new Measurement(0, 1, 1, 0))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new Measurement(1, 1, 10, 11))
        .isInstanceOf(IllegalArgumentException.class);
  }

  private static BenchReport report(List<Double> peer) {
    Machine machine = new Machine("a processor", 2, "a device", "25", 0.5, -1);
    return new BenchReport(
        "shape",
        machine,
        List.of(
            new BenchReport.Configuration("bfloat16", 1, 1.5, CEILINGS, List.of(result(peer)))));
  }
}
