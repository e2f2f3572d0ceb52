package dev.baton.router.front.rest;

import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.inference.v1.TokenLogprob;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.router.generation.Prompt;
import dev.baton.router.text.TextModel;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** The replies of /v1/completions. */
final class CompletionFormat extends ReplyFormat {

  CompletionFormat(
      RestRequest request, String requestId, String model, String fingerprint, long created) {
    super(
        request,
        "cmpl-" + requestId,
        "text_completion",
        "text_completion",
        model,
        fingerprint,
        created);
  }

  @Override
  @Nullable ObjectNode opening(Choice choice) {
    if (!request.echo()) {
      return null;
    }
    ObjectNode node = choiceNode(choice, echo(choice), List.of(), null, true);
    return chunkOf(node);
  }

  @Override
  ObjectNode choiceNode(
      Choice choice,
      String text,
      List<SampledToken> tokens,
      @Nullable FinishReason reason,
      boolean streaming) {
    ObjectNode node = NODES.objectNode();
    node.put("index", choice.index);
    node.put("text", request.echo() && !streaming ? echo(choice) + text : text);
    if (tokens.stream().anyMatch(SampledToken::hasLogprobs)) {
      node.set("logprobs", logprobs(choice, tokens));
    } else {
      node.putNull("logprobs");
    }
    putReason(node, reason);
    if (request.returnTokenIds()) {
      if (!choice.begun) {
        node.set("prompt_token_ids", ids(choice.prepared.promptTokens()));
      }
      node.set("token_ids", ids(tokens));
    }
    choice.begun = true;
    return node;
  }

  private static String echo(Choice choice) {
    return choice.prepared.request().prompt() instanceof Prompt.Text(String text, boolean special)
        ? text
        : text(choice).decode(choice.prepared.promptTokens(), true);
  }

  private static ObjectNode logprobs(Choice choice, List<SampledToken> tokens) {
    TextModel text = text(choice);
    ObjectNode node = NODES.objectNode();
    ArrayNode names = node.putArray("tokens");
    ArrayNode values = node.putArray("token_logprobs");
    ArrayNode tops = node.putArray("top_logprobs");
    ArrayNode offsets = node.putArray("text_offset");
    for (SampledToken token : tokens) {
      TokenLogprob chosen = chosen(token);
      names.add(name(text, chosen.getTokenId()));
      values.add(finite(chosen.getLogprob()));
      ObjectNode top = tops.addObject();
      for (TokenLogprob other : token.getLogprobs().getTopList()) {
        // Of two tokens of one text the likelier, which comes first.
        top.putIfAbsent(
            name(text, other.getTokenId()), NODES.numberNode(finite(other.getLogprob())));
      }
      offsets.add(choice.offset(chosen.getTokenId()));
    }
    return node;
  }

  /**
   * The token's text; one that is part of a character only is named by its bytes, as OpenAI does.
   */
  private static String name(TextModel text, int tokenId) {
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
