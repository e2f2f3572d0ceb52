package dev.baton.engine;

/** Whether matrices are quantized at load; embedding, norms and sums keep their precision. */
public enum Quantization {
  NONE,
  /** Eight bits a weight, one scale per output; inputs get eight bits per token. */
  INT8,
  /** Four bits a weight, one scale per output and group of inputs; inputs get eight bits. */
  INT4
}
