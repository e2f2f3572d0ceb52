package dev.baton.router.front.rest;

import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.router.generation.GenerationRequest;
import dev.baton.router.generation.Prompt;
import java.util.ArrayList;
import java.util.List;
import tools.jackson.databind.JsonNode;

/** Reads the body of POST /v1/completions. */
final class CompletionRequestReader {

  private static final int DEFAULT_MAX_TOKENS = 16;

  private CompletionRequestReader() {}

  /**
   * @param maxChoices bound of prompts times n
   */
  static RestRequest read(JsonFields body, String requestId, int maxChoices) {
    CommonParameters.refuseUnsupported(body, List.of("suffix", "tools", "audio"));
    int n = CommonParameters.n(body, maxChoices);
    var bestOf = body.integer("best_of", 1, Integer.MAX_VALUE);
    if (bestOf.isPresent() && bestOf.getAsLong() != n) {
      throw CommonParameters.unsupported(
          "best_of", bestOf.getAsLong() + " (expected: " + n + " like n, the only one done)");
    }
    var builder = CommonParameters.sampling(body);
    boolean echo = body.bool("echo", false);
    // Who asks for no token wants to know how likely the prompt is; a session generates at least 1.
    boolean promptOnly = echo && body.integer("max_tokens", 0, Integer.MAX_VALUE).orElse(1) == 0;
    if (promptOnly) {
      builder.setMaxTokens(1);
    } else {
      CommonParameters.maxTokens(body, "max_tokens")
          .ifPresent(value -> builder.setMaxTokens((int) value));
    }
    body.integer("logprobs", 0, 20).ifPresent(value -> builder.setLogprobs((int) value));
    int listed = (int) CommonParameters.promptLogprobs(body).orElse(-1);
    if (echo && builder.hasLogprobs()) {
      builder.setPromptLogprobs(Math.max(listed, builder.getLogprobs()));
    }
    SamplingParameters sampling = builder.build();
    List<GenerationRequest> requests = new ArrayList<>();
    for (Prompt prompt : prompts(body, maxChoices)) {
      requests.add(
          new GenerationRequest(
              requestId,
              body.string("model").orElse(""),
              prompt,
              sampling,
              "max_tokens",
              DEFAULT_MAX_TOKENS,
              body.strings("stop"),
              body.bool("skip_special_tokens", true),
              0,
              body.string("cache_salt").orElse(""),
              CommonParameters.priority(body)));
    }
    return new RestRequest(
        requests,
        n,
        body.bool("stream", false),
        CommonParameters.includeUsage(body),
        body.bool("return_token_ids", false),
        echo,
        promptOnly,
        listed);
  }

  /** A string, a list of strings, token ids, or a list of lists of token ids. */
  private static List<Prompt> prompts(JsonFields body, int most) {
    String expected = "a string, a list of strings, token ids, or a list of lists of token ids";
    JsonNode node =
        body.node("prompt").orElseThrow(() -> JsonFields.invalid("prompt", "absent", expected));
    boolean special = body.bool("add_special_tokens", true);
    if (node.isString()) {
      return List.of(new Prompt.Text(node.stringValue(), special));
    }
    if (!node.isArray()) {
      throw JsonFields.invalid("prompt", JsonFields.shown(node), expected);
    }
    if (node.isEmpty()) {
      throw JsonFields.invalid("prompt", "an empty list", expected);
    }
    if (node.get(0).isNumber()) {
      return List.of(new Prompt.Tokens(JsonFields.integers("prompt", node)));
    }
    if (node.size() > most) {
      throw JsonFields.invalid("prompt", node.size() + " prompts", "<= " + most);
    }
    List<Prompt> prompts = new ArrayList<>();
    boolean texts = node.get(0).isString();
    for (JsonNode element : node) {
      String name = "prompt[" + prompts.size() + "]";
      if (!texts) {
        prompts.add(new Prompt.Tokens(JsonFields.integers(name, element)));
      } else if (element.isString()) {
        prompts.add(new Prompt.Text(element.stringValue(), special));
      } else {
        throw JsonFields.invalid(name, JsonFields.shown(element), "a string like the first");
      }
    }
    return prompts;
  }
}
