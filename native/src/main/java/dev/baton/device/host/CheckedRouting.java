package dev.baton.device.host;

import dev.baton.device.Routing;

/** A {@link Routing} as the checks of ops see it: its sizes, and the rows routed last. */
public abstract class CheckedRouting implements Routing {

  private final int maxRows;
  private final int experts;
  private final int chosen;
  private int rows;

  protected CheckedRouting(int maxRows, int experts, int chosen) {
    if (maxRows < 1 || chosen < 1 || chosen > experts) {
      throw new IllegalArgumentException(
          "routing: %d rows, %d of %d experts (expected: rows >= 1, experts >= chosen >= 1)"
              .formatted(maxRows, chosen, experts));
    }
    this.maxRows = maxRows;
    this.experts = experts;
    this.chosen = chosen;
  }

  @Override
  public final int maxRows() {
    return maxRows;
  }

  @Override
  public final int experts() {
    return experts;
  }

  @Override
  public final int chosen() {
    return chosen;
  }

  /** Rows routed last. */
  public final int rows() {
    return rows;
  }

  protected final void setRows(int count) {
    rows = count;
  }
}
