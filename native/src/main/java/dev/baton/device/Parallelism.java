package dev.baton.device;

/** How ranks share a linear weight, and so which sums of its products must not depend on them. */
public enum Parallelism {
  /**
   * Every rank has some outputs and all inputs: a product is one sum over all inputs. Also for
   * weights that every rank holds whole.
   */
  COLUMN,
  /**
   * Every rank has all outputs and some inputs: a product is summed as {@link
   * LinearWeight#PARTIALS} ranges of the inputs, added as a tree.
   */
  ROW
}
