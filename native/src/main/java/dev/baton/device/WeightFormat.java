package dev.baton.device;

/**
 * How a linear weight is kept once packed, and thereby how its products are computed (see the
 * exactness rules of the package). Checkpoints hold {@link DType}s; packing converts.
 */
public enum WeightFormat {
  FLOAT32,
  BFLOAT16,
  /** Eight bits a weight, one scale per output; inputs are quantized to eight bits too. */
  INT8,
  /**
   * Four bits a weight, one scale per output, multiplied by a small whole number for each group of
   * {@link #INT4_GROUP} inputs; inputs are quantized to eight bits.
   */
  INT4;

  /**
   * Inputs that share a factor in {@link #INT4}; a group ends at a canonical range's border too.
   */
  public static final int INT4_GROUP = 32;

  /** The format that keeps values of this dtype as they are. */
  public static WeightFormat of(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> FLOAT32;
      case BFLOAT16 -> BFLOAT16;
      case FLOAT16, INT8, INT32 ->
          throw new IllegalArgumentException(
              "dtype: %s (expected: FLOAT32 or BFLOAT16)".formatted(dtype));
    };
  }
}
