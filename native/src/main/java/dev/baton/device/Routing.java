package dev.baton.device;

/**
 * Which experts of a mixture each row of a step goes to, and by what weight: filled by {@link
 * Ops#route}, read by the other routed ops of the same rank. The {@code rows * chosen} pairs of row
 * and expert stand in slots sorted by expert, then by row, so that each expert's part of a product
 * is one run of rows. Belongs to one rank's thread; lives until its device is closed.
 */
public interface Routing {

  /** Most rows of a step. */
  int maxRows();

  int experts();

  /** Experts of each row. */
  int chosen();
}
