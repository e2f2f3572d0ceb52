package dev.baton.router.front.rest;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.router.failure.FailureException;
import dev.baton.router.failure.Failures;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;

/** What both completion endpoints read alike. Ranges of sampling parameters are checked later. */
final class CommonParameters {

  /** Parameters that must be absent, null, false or empty. */
  private static final List<String> NOT_DONE =
      List.of(
          "use_beam_search",
          "truncate_prompt_tokens",
          "kv_transfer_params",
          "guided_json",
          "guided_regex",
          "guided_choice",
          "guided_grammar",
          "structured_outputs",
          "structural_tag",
          "thinking_token_budget",
          "repetition_detection",
          "logprob_token_ids",
          "logits_processors",
          "bad_words",
          "allowed_token_ids",
          "prompt_embeds",
          "include_stop_str_in_output",
          "return_tokens_as_token_ids");

  /**
   * Parameters of other servers that change which tokens come, by the values that change nothing.
   */
  private static final Map<String, Double> NEUTRAL =
      Map.ofEntries(
          Map.entry("length_penalty", 1.0),
          Map.entry("repeat_penalty", 1.0),
          Map.entry("typical_p", 1.0),
          Map.entry("tfs_z", 1.0),
          Map.entry("top_a", 0.0),
          Map.entry("epsilon_cutoff", 0.0),
          Map.entry("eta_cutoff", 0.0),
          Map.entry("no_repeat_ngram_size", 0.0),
          Map.entry("mirostat", 0.0),
          Map.entry("dry_multiplier", 0.0),
          Map.entry("xtc_probability", 0.0));

  private static final int MAX_LOGPROBS = 20;

  /** As numbers are written, so that no two names are one token. */
  private static final Pattern TOKEN_ID = Pattern.compile("0|[1-9]\\d{0,8}");

  private CommonParameters() {}

  /** Refuses what this build does not do. */
  static void refuseUnsupported(JsonFields body, List<String> alsoNotDone) {
    NEUTRAL.forEach(
        (field, neutral) -> {
          var value = body.number(field);
          if (value.isPresent() && value.getAsDouble() != neutral) {
            throw unsupported(
                field,
                "%s (expected: %.0f, the only one done)".formatted(value.getAsDouble(), neutral));
          }
        });
    NOT_DONE.forEach(field -> refuse(body, field));
    alsoNotDone.forEach(field -> refuse(body, field));
    body.object("response_format")
        .ifPresent(
            format -> {
              String type = format.string("type").orElse("");
              if (!type.equals("text")) {
                throw unsupported(
                    "response_format",
                    "type \"" + type + "\" (expected: \"text\", the only one done)");
              }
            });
  }

  static FailureException unsupported(String field, String why) {
    return new FailureException(
        Failures.of(ErrorCode.UNSUPPORTED_PARAMETER, field + ": " + why, field));
  }

  /** Sampling parameters but max_tokens and logprobs. */
  static SamplingParameters.Builder sampling(JsonFields body) {
    SamplingParameters.Builder sampling = SamplingParameters.newBuilder();
    body.number("temperature").ifPresent(value -> sampling.setTemperature((float) value));
    body.number("top_p").ifPresent(value -> sampling.setTopP((float) value));
    body.integer("top_k", -1, Integer.MAX_VALUE).ifPresent(value -> sampling.setTopK((int) value));
    body.integer("seed", Long.MIN_VALUE, Long.MAX_VALUE).ifPresent(sampling::setSeed);
    body.number("min_p").ifPresent(value -> sampling.setMinP((float) value));
    body.number("repetition_penalty")
        .ifPresent(value -> sampling.setRepetitionPenalty((float) value));
    body.number("frequency_penalty")
        .ifPresent(value -> sampling.setFrequencyPenalty((float) value));
    body.number("presence_penalty").ifPresent(value -> sampling.setPresencePenalty((float) value));
    body.integer("min_tokens", 0, Integer.MAX_VALUE)
        .ifPresent(value -> sampling.setMinTokens((int) value));
    promptLogprobs(body).ifPresent(value -> sampling.setPromptLogprobs((int) value));
    readBias(body, sampling);
    sampling.setIgnoreEos(body.bool("ignore_eos", false));
    int[] stopTokens = body.integers("stop_token_ids");
    if (stopTokens != null) {
      for (int id : stopTokens) {
        sampling.addStopTokenIds(id);
      }
    }
    return sampling;
  }

  /** How many of the likeliest tokens of each place in the prompt the reply shall list. */
  static OptionalLong promptLogprobs(JsonFields body) {
    var tops = body.integer("prompt_logprobs", 0, MAX_LOGPROBS);
    if (tops.isPresent() && body.bool("stream", false)) {
      throw JsonFields.invalid("prompt_logprobs", "given with a stream", "only with stream: false");
    }
    return tops;
  }

  /** An object of token ids, which JSON has as strings, and numbers. */
  private static void readBias(JsonFields body, SamplingParameters.Builder sampling) {
    body.object("logit_bias")
        .ifPresent(
            bias -> {
              for (var entry : bias.properties()) {
                String id = entry.getKey();
                if (!TOKEN_ID.matcher(id).matches()) {
                  throw JsonFields.invalid("logit_bias", '"' + id + '"', "token ids as names");
                }
                bias.number(id)
                    .ifPresent(value -> sampling.putLogitBias(Integer.parseInt(id), (float) value));
              }
            });
  }

  static OptionalLong maxTokens(JsonFields body, String field) {
    return body.integer(field, 1, Integer.MAX_VALUE);
  }

  static boolean includeUsage(JsonFields body) {
    var options = body.object("stream_options");
    if (options.isPresent() && !body.bool("stream", false)) {
      throw JsonFields.invalid(
          "stream_options", "given without a stream", "only with stream: true");
    }
    return options.isPresent() && options.get().bool("include_usage", false);
  }

  static int n(JsonFields body, int maxChoices) {
    return (int) body.integer("n", 1, maxChoices).orElse(1);
  }

  /** Smaller is earlier in vLLM's API, larger is earlier inside. */
  static int priority(JsonFields body) {
    return (int) -body.integer("priority", -1_000_000, 1_000_000).orElse(0);
  }

  private static void refuse(JsonFields body, String field) {
    JsonNode node = body.node(field).orElse(null);
    if (node != null
        && !(node.isContainer() && node.isEmpty())
        && !(node.isBoolean() && !node.booleanValue())
        && !(node.isString() && node.stringValue().isEmpty())) {
      throw unsupported(field, "not done by this server (expected: absent)");
    }
  }
}
