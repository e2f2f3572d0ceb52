package dev.baton.engine;

/** Whether matrices are quantized at load; embedding, norms and sums keep their precision. */
public enum Quantization {
  NONE,
  /** Eight bits a weight, one scale per output; inputs get eight bits per token. */
  INT8,
  /**
   * Four bits a weight, a scale per output and a factor per group of inputs; inputs as INT8. The
   * output layer has eight bits ({@link Formats#head}).
   */
  INT4
}
