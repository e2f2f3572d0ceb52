package dev.baton.bench;

import dev.baton.device.DType;
import dev.baton.device.WeightFormat;

/** In what products are computed; each has a peak of its own on a machine. */
enum Arithmetic {
  FLOAT32(WeightFormat.FLOAT32),
  BFLOAT16(WeightFormat.BFLOAT16),
  INT8(WeightFormat.INT8);

  private final WeightFormat format;

  Arithmetic(WeightFormat format) {
    this.format = format;
  }

  /** Weights whose products it computes. */
  WeightFormat format() {
    return format;
  }

  /** Of linear layers: four-bit weights are multiplied as bytes. */
  static Arithmetic of(WeightFormat weights) {
    return switch (weights) {
      case FLOAT32 -> FLOAT32;
      case BFLOAT16 -> BFLOAT16;
      case INT8, INT4 -> INT8;
    };
  }

  /** Of attention over keys and values of this dtype: bytes are widened to bfloat16. */
  static Arithmetic of(DType kv) {
    return switch (kv) {
      case BFLOAT16, INT8 -> BFLOAT16;
      case FLOAT32, FLOAT16, INT32 -> FLOAT32;
    };
  }
}
