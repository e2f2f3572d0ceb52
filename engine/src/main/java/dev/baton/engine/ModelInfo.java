package dev.baton.engine;

import dev.baton.device.DType;
import dev.baton.device.KvShape;
import java.util.List;

/**
 * What the rest of the house may know of a loaded model.
 *
 * @param fingerprint over config, weights, tokenizer and numerics (see {@link
 *     dev.baton.engine.checkpoint.Fingerprint}); equal on workers of any tensor-parallel degree and
 *     block size that may exchange KV
 * @param contextLength most tokens of a session
 * @param layers with KV
 * @param kvHeads of the whole model, not counting replicas
 * @param kvDtype FLOAT32, BFLOAT16 or INT8
 * @param eosTokenIds from generation_config.json, else config.json
 */
public record ModelInfo(
    String name,
    String architecture,
    String fingerprint,
    int contextLength,
    int vocabularySize,
    int layers,
    int kvHeads,
    int headDim,
    DType kvDtype,
    List<Integer> eosTokenIds) {

  public ModelInfo {
    eosTokenIds = List.copyOf(eosTokenIds);
  }

  /** Bytes of one token position in the cache, all layers and heads, keys and values. */
  public long kvBytesPerToken() {
    return 2L * layers * kvHeads * KvShape.rowBytes(headDim, kvDtype);
  }
}
