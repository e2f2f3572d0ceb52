package dev.baton.bench.handoff;

import dev.baton.device.DType;
import dev.baton.kvtransfer.KvGeometry;

/**
 * What to hand off.
 *
 * @param layers of the model
 * @param kvHeads of the whole model
 * @param headDim elements of a head
 * @param dtype of the KV
 * @param tokens of the large hand-off
 * @param slabBytes of a slab, and of a plain message
 * @param rounds of each measurement; the report has the medians
 */
public record HandoffPlan(
    int layers, int kvHeads, int headDim, DType dtype, int tokens, int slabBytes, int rounds) {

  public HandoffPlan {
    if (tokens < 64) {
      throw new IllegalArgumentException("tokens: %d (expected: >= 64)".formatted(tokens));
    }
    if (rounds < 1) {
      throw new IllegalArgumentException("rounds: %d (expected: >= 1)".formatted(rounds));
    }
  }

  /** Llama 3 8B: 128 KiB a token. */
  public static HandoffPlan llama8b(int tokens, int slabBytes, int rounds) {
    return new HandoffPlan(32, 8, 128, DType.BFLOAT16, tokens, slabBytes, rounds);
  }

  KvGeometry geometry() {
    return new KvGeometry(layers, kvHeads, headDim, dtype.bytes());
  }

  long bytesPerToken() {
    return geometry().bytesPerLayerToken() * layers;
  }

  long bytes() {
    return bytesPerToken() * tokens;
  }

  /** Plain messages that move as many bytes. */
  int messages() {
    return Math.toIntExact(Math.ceilDiv(bytes(), slabBytes));
  }
}
