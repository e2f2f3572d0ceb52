package dev.baton.device;

/** Element types of tensors, weights, KV and checkpoints. All little-endian. */
public enum DType {
  FLOAT32(4),
  /** Upper half of a float32; arithmetic is done in float32, stores round to nearest even. */
  BFLOAT16(2),
  /** IEEE 754 half precision; a checkpoint dtype only. */
  FLOAT16(2),
  /** A KV dtype only: eight bits with one float32 scale per token and head. */
  INT8(1),
  INT32(4);

  private final int bytes;

  DType(int bytes) {
    this.bytes = bytes;
  }

  /** Bytes of one element. */
  public int bytes() {
    return bytes;
  }
}
