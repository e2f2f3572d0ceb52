package dev.baton.router.front.rest;

import dev.baton.proto.inference.v1.PromptLogprobs;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.router.text.TextModel;
import dev.baton.router.text.TextStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * Log probabilities in the form of /v1/completions: columns of tokens, their log probabilities, the
 * likeliest in their place, and where their text begins, in Unicode characters.
 */
final class TokenColumns {

  private final TextModel text;
  private final ObjectNode node = ReplyFormat.NODES.objectNode();
  private final ArrayNode names = node.putArray("tokens");
  private final ArrayNode values = node.putArray("token_logprobs");
  private final ArrayNode tops = node.putArray("top_logprobs");
  private final ArrayNode offsets = node.putArray("text_offset");

  TokenColumns(TextModel text) {
    this.text = text;
  }

  ObjectNode node() {
    return node;
  }

  void add(SampledToken token, int offset) {
    names.add(name(token.getTokenId()));
    values.add(ReplyFormat.finite(token.getLogprobs().getLogprob()));
    ObjectNode top = tops.addObject();
    token
        .getLogprobs()
        .getTopList()
        .forEach(other -> put(top, other.getTokenId(), other.getLogprob()));
    offsets.add(offset);
  }

  /** The prompt's tokens; nothing is known of the first, for nothing stands before it. */
  void addPrompt(Choice choice) {
    int[] prompt = choice.prepared.promptTokens();
    PromptLogprobs scores =
        choice.promptLogprobs == null ? PromptLogprobs.getDefaultInstance() : choice.promptLogprobs;
    int listed = Math.min(choice.prepared.request().sampling().getLogprobs(), scores.getTops());
    TextStream running = text.stream(new int[0], List.of(), true);
    int offset = 0;
    for (int i = 0; i < prompt.length; i++) {
      names.add(name(prompt[i]));
      offsets.add(offset);
      String added = running.append(prompt[i]);
      offset += added.codePointCount(0, added.length());
      int place = i - 1;
      if (place < 0 || place >= scores.getLogprobsCount()) {
        values.addNull();
        tops.addNull();
        continue;
      }
      values.add(ReplyFormat.finite(scores.getLogprobs(place)));
      ObjectNode top = tops.addObject();
      for (int rank = 0; rank < listed; rank++) {
        int at = place * scores.getTops() + rank;
        put(top, scores.getTopTokenIds(at), scores.getTopLogprobs(at));
      }
    }
  }

  private void put(ObjectNode top, int tokenId, float logprob) {
    // Of two tokens of one text the likelier, which comes first.
    top.putIfAbsent(name(tokenId), ReplyFormat.NODES.numberNode(ReplyFormat.finite(logprob)));
  }

  /**
   * The token's text; one that is part of a character only is named by its bytes, as OpenAI does.
   */
  private String name(int tokenId) {
    TextModel.TokenText token = text.token(tokenId);
    if (Arrays.equals(token.text().getBytes(StandardCharsets.UTF_8), token.bytes())) {
      return token.text();
    }
    StringBuilder name = new StringBuilder("bytes:");
    for (byte value : token.bytes()) {
      name.append("\\x").append(HexFormat.of().toHexDigits(value));
    }
    return name.toString();
  }
}
