package dev.baton.engine.model;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.Tensor;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.checkpoint.RopeScaling;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Cosines and sines of the rotary position embedding (Su et al., RoFormer, 2021), one row a
 * position.
 *
 * <p>The roundings are those of transformers: frequencies in float32 step by step, the angle as a
 * float32 product, its cosine and sine correct to the last bit of float32 as a rule. StrictMath
 * makes the table the same on every machine.
 *
 * @param cos {@code [positions, headDim / 2]} float32, times the attention factor of YaRN
 * @param sin likewise
 */
record RotaryTable(Tensor cos, Tensor sin) {

  private static final int ROWS_AT_ONCE = 1024;

  static RotaryTable compute(Device device, ModelConfig config, int positions) {
    float[] frequencies = frequencies(config);
    float magnitude =
        config.ropeScaling() instanceof RopeScaling.Yarn yarn ? (float) yarn.attentionFactor() : 1;
    int width = frequencies.length;
    Tensor cos = device.allocate(DType.FLOAT32, positions, width);
    Tensor sin = device.allocate(DType.FLOAT32, positions, width);
    try (Arena arena = Arena.ofConfined()) {
      long chunk = (long) ROWS_AT_ONCE * width;
      MemorySegment cosines = arena.allocate(ValueLayout.JAVA_FLOAT, chunk);
      MemorySegment sines = arena.allocate(ValueLayout.JAVA_FLOAT, chunk);
      for (int from = 0; from < positions; from += ROWS_AT_ONCE) {
        int rows = Math.min(ROWS_AT_ONCE, positions - from);
        for (int row = 0; row < rows; row++) {
          for (int i = 0; i < width; i++) {
            double angle = (float) (from + row) * frequencies[i];
            long index = (long) row * width + i;
            cosines.setAtIndex(
                ValueLayout.JAVA_FLOAT, index, (float) StrictMath.cos(angle) * magnitude);
            sines.setAtIndex(
                ValueLayout.JAVA_FLOAT, index, (float) StrictMath.sin(angle) * magnitude);
          }
        }
        long offset = (long) from * width * Float.BYTES;
        long bytes = (long) rows * width * Float.BYTES;
        device.upload(cos, offset, cosines.asSlice(0, bytes));
        device.upload(sin, offset, sines.asSlice(0, bytes));
      }
    }
    return new RotaryTable(cos, sin);
  }

  static long bytes(ModelConfig config, int positions) {
    return 2L * positions * (config.headDim() / 2) * Float.BYTES;
  }

  /** Radians per position, {@code headDim / 2} of them. */
  static float[] frequencies(ModelConfig config) {
    float[] frequencies = new float[config.headDim() / 2];
    double theta = (float) config.ropeTheta();
    for (int i = 0; i < frequencies.length; i++) {
      float exponent = (float) (2 * i) / (float) config.headDim();
      float plain = 1f / (float) StrictMath.pow(theta, exponent);
      frequencies[i] =
          switch (config.ropeScaling()) {
            case RopeScaling.None() -> plain;
            case RopeScaling.Linear(double factor) -> plain / (float) factor;
            case RopeScaling.Llama3 scaling -> llama3(plain, scaling);
            case RopeScaling.Yarn scaling ->
                yarn(i, (float) StrictMath.pow(theta, exponent), scaling);
          };
    }
    return frequencies;
  }

  /** Source: transformers' yarn rope function; the ramp's width is never 0. */
  private static float yarn(int pair, float wavelength, RopeScaling.Yarn scaling) {
    double width = scaling.rampTo() - scaling.rampFrom();
    float ramp = (pair - (float) scaling.rampFrom()) / (float) (width == 0 ? 0.001 : width);
    float kept = 1f - Math.clamp(ramp, 0f, 1f);
    return 1f / ((float) scaling.factor() * wavelength) * (1f - kept) + 1f / wavelength * kept;
  }

  /** Source: transformers' llama3 rope function; a scalar over a tensor is its reciprocal times. */
  private static float llama3(float plain, RopeScaling.Llama3 scaling) {
    float factor = (float) scaling.factor();
    float low = (float) scaling.lowFrequencyFactor();
    float span = (float) (scaling.highFrequencyFactor() - scaling.lowFrequencyFactor());
    float longest = (float) (scaling.originalContext() / scaling.lowFrequencyFactor());
    float shortest = (float) (scaling.originalContext() / scaling.highFrequencyFactor());
    float wavelength = 1f / plain * (float) (2 * Math.PI);
    if (wavelength > longest) {
      return plain / factor;
    }
    if (wavelength < shortest) {
      return plain;
    }
    float smooth = (1f / wavelength * (float) scaling.originalContext() - low) / span;
    return (1f - smooth) * plain / factor + smooth * plain;
  }
}
