package dev.baton.engine;

/** Dtype of weights and KV; sums are always float32. */
public enum Precision {
  /** The checkpoint's own: bfloat16 stays, float32 stays, float16 becomes float32. */
  AUTO,
  FLOAT32,
  BFLOAT16
}
