package dev.baton.router.front.rest;

import dev.baton.proto.inference.v1.PromptLogprobs;
import dev.baton.router.text.TextModel;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * The log probabilities of a prompt's tokens, as vLLM writes them: a list with one entry per token,
 * null for the first, then objects from token id to log probability, rank and text.
 */
final class PromptScores {

  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

  private PromptScores() {}

  /**
   * @param tops likeliest tokens to list in each place, at most those that there are
   */
  static ArrayNode list(TextModel text, int[] promptTokens, PromptLogprobs scores, int tops) {
    ArrayNode list = NODES.arrayNode();
    list.addNull();
    for (int place = 0; place < scores.getLogprobsCount(); place++) {
      ObjectNode entry = list.addObject();
      for (int rank = 0; rank < Math.min(tops, scores.getTops()); rank++) {
        int at = place * scores.getTops() + rank;
        put(entry, text, scores.getTopTokenIds(at), scores.getTopLogprobs(at), rank + 1);
      }
      int own = promptTokens[place + 1];
      if (!entry.has(String.valueOf(own))) {
        put(entry, text, own, scores.getLogprobs(place), scores.getRanks(place));
      }
    }
    return list;
  }

  private static void put(ObjectNode entry, TextModel text, int id, float logprob, int rank) {
    entry
        .putObject(String.valueOf(id))
        .put("logprob", ReplyFormat.finite(logprob))
        .put("rank", rank)
        .put("decoded_token", text.token(id).text());
  }
}
