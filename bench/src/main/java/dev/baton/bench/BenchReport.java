package dev.baton.bench;

import java.util.List;

/**
 * What one run of the bench found.
 *
 * @param machine where and beside what it ran
 * @param configurations in the order of the plan
 */
public record BenchReport(String shape, Machine machine, List<Configuration> configurations) {

  /**
   * The results of one loaded model.
   *
   * @param dtype of weights and KV
   * @param loadSeconds from nothing to ready, making the weights included
   */
  record Configuration(
      String dtype,
      int tensorParallel,
      double loadSeconds,
      Ceilings ceilings,
      List<Result> results) {}

  /** As a table for people, lines ended by line feeds. */
  public String text() {
    return ReportText.of(this);
  }

  /** As JSON; all figures of all rounds. */
  public String json() {
    return ReportJson.of(this);
  }
}
