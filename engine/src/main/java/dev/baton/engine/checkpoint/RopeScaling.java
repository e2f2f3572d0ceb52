package dev.baton.engine.checkpoint;

/** How rotary frequencies are stretched to a context longer than that of the first training. */
public sealed interface RopeScaling {

  /** Not at all. */
  record None() implements RopeScaling {}

  /** Every frequency divided by {@code factor}. */
  record Linear(double factor) implements RopeScaling {}

  /**
   * YaRN (Peng et al., 2023): dimensions that turn often in the first training's context are kept,
   * those that turn seldom divided by {@code factor}, a ramp between; cosines and sines are
   * multiplied by {@code attentionFactor}.
   *
   * @param rampFrom dimension pair from which the ramp begins
   * @param rampTo dimension pair at which it ends
   */
  record Yarn(double factor, double rampFrom, double rampTo, double attentionFactor)
      implements RopeScaling {}

  /**
   * Llama 3.1's rule: low frequencies divided by {@code factor}, high ones kept, a ramp between.
   *
   * @param lowFrequencyFactor wavelengths longer than {@code originalContext / lowFrequencyFactor}
   *     positions are scaled in full
   * @param highFrequencyFactor wavelengths shorter than {@code originalContext /
   *     highFrequencyFactor} positions are kept
   * @param originalContext positions of the first training
   */
  record Llama3(
      double factor, double lowFrequencyFactor, double highFrequencyFactor, int originalContext)
      implements RopeScaling {}
}
