package dev.baton.engine;

import dev.baton.device.DType;
import dev.baton.device.WeightFormat;

/**
 * In what a replica keeps its numbers.
 *
 * @param dtype of embeddings, and of matrices that are not quantized: FLOAT32 or BFLOAT16
 * @param weights of the matrices of linear layers
 * @param kv of keys and values
 */
public record Formats(DType dtype, WeightFormat weights, DType kv) {

  /** Nothing quantized. */
  public static Formats of(DType dtype) {
    return new Formats(dtype, WeightFormat.of(dtype), dtype);
  }
}
