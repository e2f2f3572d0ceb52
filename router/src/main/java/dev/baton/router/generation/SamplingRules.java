package dev.baton.router.generation;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.router.failure.FailureException;
import dev.baton.router.failure.Failures;
import dev.baton.router.registry.ServedModel;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;

/**
 * The one place where sampling parameters are checked and completed: what leaves here has every
 * field set and fits the model, so that workers need not look again.
 */
final class SamplingRules {

  static final int MAX_LOGPROBS = 20;
  static final int MAX_STOP_STRINGS = 16;
  static final int MAX_STOP_TOKENS = 128;
  static final int MAX_LOGIT_BIAS = 1024;

  /** Numbers that one message of prompt log probabilities carries, about two megabytes. */
  static final long MAX_PROMPT_LOGPROBS = 1 << 18;

  private static final int MAX_STOP_CHARS = 1024;

  private SamplingRules() {}

  /**
   * Checks, then fills in what is unset: the model's own defaults, the rest of the context, a drawn
   * seed.
   *
   * @throws FailureException naming field, value and expectation
   */
  static SamplingParameters complete(
      ServedModel model, int promptTokens, GenerationRequest request) {
    SamplingParameters asked = request.sampling();
    SamplingParameters.Builder all = asked.toBuilder();
    all.setMaxTokens(maxTokens(model, promptTokens, request));
    var defaults = model.text().generationDefaults();
    if (!asked.hasTemperature()) {
      all.setTemperature(defaults.getOrDefault("temperature", 1.0).floatValue());
    }
    if (!asked.hasTopK()) {
      all.setTopK(defaults.getOrDefault("top_k", 0.0).intValue());
    }
    if (!asked.hasTopP()) {
      all.setTopP(defaults.getOrDefault("top_p", 1.0).floatValue());
    }
    if (!asked.hasMinP()) {
      all.setMinP(defaults.getOrDefault("min_p", 0.0).floatValue());
    }
    if (!asked.hasRepetitionPenalty()) {
      all.setRepetitionPenalty(defaults.getOrDefault("repetition_penalty", 1.0).floatValue());
    }
    if (!asked.hasSeed()) {
      all.setSeed(ThreadLocalRandom.current().nextLong());
    }
    float temperature = all.getTemperature();
    check(temperature >= 0 && temperature <= 2, "temperature", temperature, "0 to 2");
    check(all.getTopK() >= -1, "top_k", all.getTopK(), ">= -1");
    // -1 is how vLLM says all.
    all.setTopK(Math.max(0, all.getTopK()));
    check(all.getTopP() > 0 && all.getTopP() <= 1, "top_p", all.getTopP(), "> 0 and <= 1");
    check(all.getMinP() >= 0 && all.getMinP() <= 1, "min_p", all.getMinP(), "0 to 1");
    float repetition = all.getRepetitionPenalty();
    check(
        repetition >= 0.01f && repetition <= 100, "repetition_penalty", repetition, "0.01 to 100");
    checkPenalty("frequency_penalty", all.getFrequencyPenalty());
    checkPenalty("presence_penalty", all.getPresencePenalty());
    check(
        all.getMinTokens() >= 0 && all.getMinTokens() <= all.getMaxTokens(),
        "min_tokens",
        all.getMinTokens(),
        "0 to " + all.getMaxTokens() + ", " + request.maxTokensField());
    int vocabulary = model.identity().getVocabularySize();
    checkLogprobs(asked, promptTokens, vocabulary);
    checkBias(asked, vocabulary);
    check(
        asked.getStopTokenIdsCount() <= MAX_STOP_TOKENS,
        "stop_token_ids",
        asked.getStopTokenIdsCount() + " ids",
        "at most " + MAX_STOP_TOKENS);
    for (int id : asked.getStopTokenIdsList()) {
      check(id >= 0 && id < vocabulary, "stop_token_ids", id, "0 to " + (vocabulary - 1));
    }
    checkStop(request.stop());
    return all.build();
  }

  private static void checkPenalty(String field, float penalty) {
    check(Math.abs(penalty) <= 2, field, penalty, "-2 to 2");
  }

  private static void checkLogprobs(SamplingParameters asked, int promptTokens, int vocabulary) {
    int most = Math.min(MAX_LOGPROBS, vocabulary);
    if (asked.hasLogprobs()) {
      int tops = asked.getLogprobs();
      check(tops >= 0 && tops <= most, "logprobs", tops, "0 to " + most);
    }
    if (asked.hasPromptLogprobs()) {
      int tops = asked.getPromptLogprobs();
      check(tops >= 0 && tops <= most, "prompt_logprobs", tops, "0 to " + most);
      long numbers = (long) promptTokens * (tops + 1);
      check(
          numbers <= MAX_PROMPT_LOGPROBS,
          "prompt_logprobs",
          tops + " for a prompt of " + promptTokens + " tokens",
          "(prompt_logprobs + 1) * tokens <= " + MAX_PROMPT_LOGPROBS);
    }
  }

  private static void checkBias(SamplingParameters asked, int vocabulary) {
    check(
        asked.getLogitBiasCount() <= MAX_LOGIT_BIAS,
        "logit_bias",
        asked.getLogitBiasCount() + " tokens",
        "at most " + MAX_LOGIT_BIAS);
    asked
        .getLogitBiasMap()
        .forEach(
            (id, bias) -> {
              check(
                  id >= 0 && id < vocabulary,
                  "logit_bias",
                  "token id " + id,
                  "0 to " + (vocabulary - 1));
              check(Math.abs(bias) <= 100, "logit_bias", bias + " for " + id, "-100 to 100");
            });
  }

  private static int maxTokens(ServedModel model, int promptTokens, GenerationRequest request) {
    SamplingParameters asked = request.sampling();
    String field = request.maxTokensField();
    if (asked.hasMaxTokens()) {
      check(asked.getMaxTokens() >= 1, field, asked.getMaxTokens(), ">= 1");
    }
    int context = model.contextLength();
    int room = context - promptTokens;
    if (room < 1) {
      throw tooLong(
          "prompt: "
              + promptTokens
              + " tokens (expected: < "
              + context
              + ", the context of model "
              + model.name()
              + ")",
          "prompt");
    }
    if (!asked.hasMaxTokens()) {
      return request.defaultMaxTokens() == 0 ? room : Math.min(room, request.defaultMaxTokens());
    }
    if (asked.getMaxTokens() > room) {
      throw tooLong(
          field
              + ": "
              + asked.getMaxTokens()
              + " after a prompt of "
              + promptTokens
              + " tokens (expected: together <= "
              + context
              + ", the context of model "
              + model.name()
              + ")",
          field);
    }
    return asked.getMaxTokens();
  }

  private static void checkStop(List<String> stop) {
    check(
        stop.size() <= MAX_STOP_STRINGS,
        "stop",
        stop.size() + " strings",
        "at most " + MAX_STOP_STRINGS);
    for (String string : stop) {
      check(!string.isEmpty(), "stop", "\"\"", "no empty string");
      check(
          string.length() <= MAX_STOP_CHARS,
          "stop",
          string.length() + " characters",
          "at most " + MAX_STOP_CHARS);
      checkText("stop", string);
    }
  }

  private static void check(boolean holds, String field, Object value, String expected) {
    if (!holds) {
      throw FailureException.invalid(field, field + ": " + value + " (expected: " + expected + ")");
    }
  }

  static FailureException tooLong(String message, String field) {
    return new FailureException(Failures.of(ErrorCode.CONTEXT_LENGTH_EXCEEDED, message, field));
  }

  /** A lone surrogate is no character; encoding it as one would change the prompt silently. */
  static void checkText(String field, String text) {
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (Character.isHighSurrogate(c)
          && i + 1 < text.length()
          && Character.isLowSurrogate(text.charAt(i + 1))) {
        i++;
      } else if (Character.isSurrogate(c)) {
        throw FailureException.invalid(
            field, field + ": a lone surrogate at character " + i + " (expected: Unicode text)");
      }
    }
  }
}
