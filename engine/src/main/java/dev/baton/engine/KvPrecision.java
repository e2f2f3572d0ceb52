package dev.baton.engine;

/** Dtype of keys and values in the cache. */
public enum KvPrecision {
  /** As the weights are before quantization. */
  AUTO,
  FLOAT32,
  BFLOAT16,
  /** Eight bits and one scale per token and head. */
  INT8
}
