package dev.baton.engine;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.WeightFormat;

/**
 * In what a replica keeps its numbers.
 *
 * @param dtype of embeddings, and of matrices that are not quantized: FLOAT32 or BFLOAT16
 * @param weights of the matrices of linear layers, see {@link #head} for the last
 * @param kv of keys and values
 */
public record Formats(DType dtype, WeightFormat weights, DType kv) {

  /**
   * Of the output layer, and of the embedding where it is the same matrix: eight bits where others
   * have four. Its error meets the logits unaveraged: with four bits too the KL divergence of this
   * repository's model is 1.2 times as large, and a step of a model of 1.2 G parameters, a fifth of
   * them here, a ninth shorter.
   */
  public WeightFormat head() {
    return weights == WeightFormat.INT4 ? WeightFormat.INT8 : weights;
  }

  /** Nothing quantized. */
  public static Formats of(DType dtype) {
    return new Formats(dtype, WeightFormat.of(dtype), dtype);
  }

  /**
   * What options make of a checkpoint on the device that they name; nobody has opened it yet.
   *
   * @param own dtype of the checkpoint, or what its config declares
   */
  public static Formats choose(EngineOptions options, DType own) {
    boolean floats = options.device().kind() == DeviceOptions.Kind.CPU;
    return choose(options, own, floats ? DType.FLOAT32 : DType.BFLOAT16);
  }

  /** Likewise; on a device without kernels for float32, AUTO is bfloat16. */
  public static Formats choose(EngineOptions options, DType own, Device device) {
    boolean floats = device.supports(WeightFormat.FLOAT32);
    Formats formats = choose(options, own, floats ? DType.FLOAT32 : DType.BFLOAT16);
    if (!device.supports(formats.weights()) || !device.supports(formats.head())) {
      throw refused("weights: %s".formatted(formats.weights()), "BFLOAT16", device);
    }
    if (!device.supportsKv(formats.kv())) {
      throw refused("KV: %s".formatted(formats.kv()), "BFLOAT16 or INT8", device);
    }
    return formats;
  }

  private static EngineException refused(String what, String expected, Device device) {
    return new EngineException(
        EngineException.Kind.INVALID,
        "%s on this device (expected: %s, for which it has kernels; use --device cpu for others): %s"
            .formatted(what, expected, device.description()));
  }

  private static Formats choose(EngineOptions options, DType own, DType wide) {
    DType dtype =
        switch (options.precision()) {
          case AUTO -> own == DType.BFLOAT16 ? DType.BFLOAT16 : wide;
          case FLOAT32 -> DType.FLOAT32;
          case BFLOAT16 -> DType.BFLOAT16;
        };
    WeightFormat weights =
        switch (options.quantization()) {
          case NONE -> WeightFormat.of(dtype);
          case INT8 -> WeightFormat.INT8;
          case INT4 -> WeightFormat.INT4;
        };
    DType kv =
        switch (options.kvPrecision()) {
          case AUTO -> dtype;
          case FLOAT32 -> DType.FLOAT32;
          case BFLOAT16 -> DType.BFLOAT16;
          case INT8 -> DType.INT8;
        };
    return new Formats(dtype, weights, kv);
  }
}
