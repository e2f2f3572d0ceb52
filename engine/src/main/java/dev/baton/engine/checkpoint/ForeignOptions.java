package dev.baton.engine.checkpoint;

import java.util.List;

/**
 * Options of config.json that belong to other architectures, or to code that came with a
 * checkpoint. Where one is in force, the model computes something else than its family does, so it
 * is refused by name. An option that only matters in training, or that transformers leaves out of
 * account in these families too, is none of them.
 */
final class ForeignOptions {

  /** In force unless absent, null, false, 0 or empty. */
  private static final List<String> OFF =
      List.of(
          "alibi",
          "use_alibi",
          "attn_logit_softcapping",
          "final_logit_softcapping",
          "query_pre_attn_scalar",
          "clip_qkv",
          "qk_layernorm",
          "use_qk_norm",
          "use_qkv_bias",
          "attention_chunk_size",
          "attn_temperature_tuning",
          "llama_4_scaling_beta",
          "no_rope_layers",
          "no_rope_layer_interval",
          "rope_interleaved",
          "rotary_dim",
          "kv_lora_rank",
          "q_lora_rank",
          "n_shared_experts",
          "num_shared_experts",
          "shared_expert_intermediate_size",
          "first_k_dense_replace",
          "num_kv_shared_layers",
          "use_parallel_residual",
          "parallel_attn",
          "use_sinks",
          "use_bidirectional_attention",
          "zero_centered_gamma",
          "use_mup");

  /** In force unless absent, null or 1. */
  private static final List<String> ONE =
      List.of(
          "embedding_multiplier",
          "residual_multiplier",
          "attention_multiplier",
          "logits_scaling",
          "logit_scale",
          "scale_emb",
          "routed_scaling_factor",
          "rotary_pct",
          "partial_rotary_factor");

  private ForeignOptions() {}

  /** Throws BAD_MODEL that names the first option in force. */
  static void refuse(JsonObject json) {
    refuseIn(json);
    if (json.has("hidden_act") && !List.of("silu", "swish").contains(json.string("hidden_act"))) {
      throw json.bad("hidden_act", "silu");
    }
    for (String quantized : List.of("quantization_config", "compression_config")) {
      if (json.has(quantized)) {
        throw json.bad(quantized, "none: weights in F32, F16 or BF16");
      }
    }
    for (String name : List.of("rope_parameters", "rope_scaling")) {
      if (json.has(name)) {
        refuseInRope(json.object(name));
      }
    }
  }

  private static void refuseInRope(JsonObject rope) {
    refuseIn(rope);
    for (String layers : List.of("full_attention", "sliding_attention")) {
      if (rope.has(layers)) {
        throw rope.bad(layers, "one rotation for all layers");
      }
    }
  }

  private static void refuseIn(JsonObject json) {
    for (String option : OFF) {
      if (!json.isOff(option)) {
        throw json.bad(option, "none: the architectures supported do not have it");
      }
    }
    for (String option : ONE) {
      if (json.positive(option, 1) != 1) {
        throw json.bad(option, "1: the architectures supported do not have it");
      }
    }
  }
}
