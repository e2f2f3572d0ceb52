package dev.baton.engine.checkpoint;

/**
 * Names of tensors in Hugging Face checkpoints of the Llama kind.
 *
 * @param layer from 0
 */
public record TensorNames(int layer) {

  /** {@code [vocabulary, hidden]}. */
  public static final String EMBEDDING = "model.embed_tokens.weight";

  /** {@code [hidden]}. */
  public static final String FINAL_NORM = "model.norm.weight";

  /** {@code [vocabulary, hidden]}; absent when tied to the embedding. */
  public static final String LM_HEAD = "lm_head.weight";

  /** {@code [hidden]}. */
  public String inputNorm() {
    return of("input_layernorm");
  }

  /** {@code [heads * headDim, hidden]}. */
  public String query() {
    return of("self_attn.q_proj");
  }

  /** {@code [kvHeads * headDim, hidden]}. */
  public String key() {
    return of("self_attn.k_proj");
  }

  /** {@code [kvHeads * headDim, hidden]}. */
  public String value() {
    return of("self_attn.v_proj");
  }

  /** {@code [hidden, heads * headDim]}. */
  public String output() {
    return of("self_attn.o_proj");
  }

  /** {@code [heads * headDim]}. */
  public String queryBias() {
    return bias("self_attn.q_proj");
  }

  /** {@code [kvHeads * headDim]}. */
  public String keyBias() {
    return bias("self_attn.k_proj");
  }

  /** {@code [kvHeads * headDim]}. */
  public String valueBias() {
    return bias("self_attn.v_proj");
  }

  /** {@code [hidden]}. */
  public String outputBias() {
    return bias("self_attn.o_proj");
  }

  /** {@code [headDim]}. */
  public String queryNorm() {
    return of("self_attn.q_norm");
  }

  /** {@code [headDim]}. */
  public String keyNorm() {
    return of("self_attn.k_norm");
  }

  /** {@code [hidden]}. */
  public String postAttentionNorm() {
    return of("post_attention_layernorm");
  }

  /** {@code [intermediate, hidden]}. */
  public String gate() {
    return of("mlp.gate_proj");
  }

  /** {@code [intermediate, hidden]}. */
  public String up() {
    return of("mlp.up_proj");
  }

  /** {@code [hidden, intermediate]}. */
  public String down() {
    return of("mlp.down_proj");
  }

  /** {@code [intermediate]}. */
  public String gateBias() {
    return bias("mlp.gate_proj");
  }

  /** {@code [intermediate]}. */
  public String upBias() {
    return bias("mlp.up_proj");
  }

  /** {@code [hidden]}. */
  public String downBias() {
    return bias("mlp.down_proj");
  }

  /** {@code [experts, hidden]}. */
  public String router(Architecture architecture) {
    return of(mixture(architecture) + ".gate");
  }

  public Expert expert(Architecture architecture, int expert) {
    String prefix = mixture(architecture) + ".experts." + expert + ".";
    return architecture == Architecture.MIXTRAL
        ? new Expert(of(prefix + "w1"), of(prefix + "w3"), of(prefix + "w2"))
        : new Expert(of(prefix + "gate_proj"), of(prefix + "up_proj"), of(prefix + "down_proj"));
  }

  /**
   * The tensors of one expert.
   *
   * @param gate {@code [intermediate, hidden]}
   * @param up likewise
   * @param down {@code [hidden, intermediate]}
   */
  public record Expert(String gate, String up, String down) {}

  private static String mixture(Architecture architecture) {
    return architecture == Architecture.MIXTRAL ? "block_sparse_moe" : "mlp";
  }

  private String of(String part) {
    return "model.layers." + layer + "." + part + ".weight";
  }

  private String bias(String part) {
    return "model.layers." + layer + "." + part + ".bias";
  }
}
