package dev.baton.bench;

import dev.baton.engine.Formats;
import java.util.List;

/**
 * What one run of the bench found.
 *
 * @param busy processes beside which everything was measured a second time
 * @param machine where and beside what it ran
 * @param configurations in the order of the plan
 */
public record BenchReport(
    String shape, Machine machine, int busy, List<Configuration> configurations) implements Report {

  /**
   * The results of one loaded model.
   *
   * @param formats of weights and KV
   * @param loadSeconds from nothing to ready, making the weights included
   */
  record Configuration(
      Formats formats,
      int tensorParallel,
      double loadSeconds,
      Ceilings ceilings,
      List<Result> results) {}

  /** As a table for people, lines ended by line feeds. */
  @Override
  public String text() {
    return ReportText.of(this);
  }

  /** As JSON; all figures of all rounds. */
  @Override
  public String json() {
    return ReportJson.of(this);
  }
}
