package dev.baton.device;

/**
 * A rank's shard of a linear layer's weight, packed once at load into the order that the device's
 * kernels read. Opaque to the engine; immutable; lives until its device is closed.
 */
public interface LinearWeight {

  /**
   * Canonical partial sums of every product, whatever the number of ranks (see the package's
   * exactness rules).
   */
  int PARTIALS = 8;

  /** Rows of the shard: output features of this rank. */
  int outputs();

  /** Columns of the shard: input features of this rank. */
  int inputs();

  WeightFormat format();
}
