package dev.baton.device;

/**
 * A rank's shard of two linear weights of one shape, a gate and what it lets through, packed
 * together for {@link Ops#gated}. Both are column-parallel. Opaque to the engine; immutable; lives
 * until its device is closed.
 */
public interface GatedWeight {

  /** Rows of each of the two shards: output features of this rank. */
  int outputs();

  /** Columns of each: the model's input features. */
  int inputs();

  WeightFormat format();
}
