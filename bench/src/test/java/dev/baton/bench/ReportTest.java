package dev.baton.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.baton.device.DType;
import dev.baton.device.WeightFormat;
import dev.baton.engine.Formats;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Figures from times that are made up. */
class ReportTest {

  /** A token costs 2,000 operations and a step 3,000 bytes, and nothing else. */
  private static final Costs COSTS =
      new Costs(
          new Costs.Matrices(1000, 2000),
          Costs.Matrices.NONE,
          1,
          new Costs.Matrices(500, 1000),
          0,
          0,
          List.of(0),
          Arithmetic.INT8,
          Arithmetic.BFLOAT16);

  /** 100 decode steps a second by memory. */
  private static final Ceilings CEILINGS = ceilings(300_000, 1e12);

  private static Ceilings ceilings(double bytes, double operations) {
    return new Ceilings(bytes, Map.of(Arithmetic.BFLOAT16, 1e12, Arithmetic.INT8, operations));
  }

  private static final Workload DECODE = new Workload.Decode(1, 0, 10);

  private static Measurement tenSteps(double seconds, double forward) {
    return new Measurement(10, 10, (long) (seconds * 1e9), (long) (forward * 1e9), 0);
  }

  private static Result result(List<Double> peer) {
    return result(List.of(), peer);
  }

  private static Result result(List<Measurement> disturbed, List<Double> peer) {
    return new Result(
        DECODE,
        COSTS,
        CEILINGS,
        List.of(tenSteps(0.2, 0.199), tenSteps(0.1, 0.0995), tenSteps(0.5, 0.4)),
        disturbed,
        peer,
        peer.isEmpty() || disturbed.isEmpty() ? List.of() : List.of(5.0));
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
    Ceilings best = CEILINGS.best(ceilings(200_000, 2e12));
    assertThat(best).isEqualTo(ceilings(300_000, 2e12));
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
  void tellsWhatBusyProcessesLeave() {
    Result result = result(List.of(tenSteps(0.5, 0.4)), List.of(25.0));
    assertThat(result.kept()).isEqualTo(0.4);
    assertThat(result.peerKept()).isEqualTo(0.2);
    assertThat(report(result).text())
        .contains("| beside 1 busy | kept |")
        .contains("|          20.0 | 40 % | 25.0 |  2.00 |               5.00 | 20 % |");
    JsonNode json = JsonMapper.shared().readTree(report(result).json());
    JsonNode node = json.get("configurations").get(0).get("results").get(0);
    assertThat(node.get("busy_kept").asDouble()).isEqualTo(0.4);
    assertThat(node.get("busy_peer_rounds").get(0).asDouble()).isEqualTo(5);
  }

  @Test
  void theCeilingsStandByTheirArithmetic() {
    assertThat(report(List.of()).text())
        .contains("shape, weights int8, KV bfloat16, TP 1")
        .contains("products bfloat16 1.00 T/s, int8 1.00 T/s");
  }

  @Test
  void aCeilingThatCannotBeMeasuredLimitsNothingAndIsNoNumber() {
    Ceilings unknown = ceilings(300_000, Ceilings.UNKNOWN);
    Result result =
        new Result(
            DECODE, COSTS, unknown, List.of(tenSteps(0.2, 0.1)), List.of(), List.of(), List.of());
    assertThat(result.bound()).isEqualTo(Ceilings.Bound.MEMORY);
    assertThat(result.limit()).isCloseTo(100, within(1e-9));
    BenchReport report = report(unknown, result);
    assertThat(report.text()).contains("products bfloat16 1.00 T/s, int8 not measured\n");
    JsonNode ceilings =
        JsonMapper.shared().readTree(report.json()).get("configurations").get(0).get("ceilings");
    assertThat(ceilings.get("operations_per_second").get("int8").isNull()).isTrue();
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
    assertThatThrownBy(() -> new Measurement(0, 1, 1, 0, 0))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new Measurement(1, 1, 10, 11, 0))
        .isInstanceOf(IllegalArgumentException.class);
  }

  private static BenchReport report(List<Double> peer) {
    return report(result(peer));
  }

  private static BenchReport report(Result result) {
    return report(CEILINGS, result);
  }

  private static BenchReport report(Ceilings ceilings, Result result) {
    Formats formats = new Formats(DType.BFLOAT16, WeightFormat.INT8, DType.BFLOAT16);
    Machine machine = new Machine("a processor", 2, "a device", "25", 0.5, -1);
    return new BenchReport(
        "shape",
        machine,
        1,
        List.of(new BenchReport.Configuration(formats, 1, 1.5, ceilings, List.of(result))));
  }
}
