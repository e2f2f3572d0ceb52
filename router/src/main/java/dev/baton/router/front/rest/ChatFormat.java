package dev.baton.router.front.rest;

import dev.baton.proto.inference.v1.TokenLogprob;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.router.generation.Ending;
import dev.baton.router.text.TextModel;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** The replies of /v1/chat/completions. */
final class ChatFormat extends ReplyFormat {

  ChatFormat(
      RestRequest request, String requestId, String model, String fingerprint, long created) {
    super(
        request,
        "chatcmpl-" + requestId,
        "chat.completion",
        "chat.completion.chunk",
        model,
        fingerprint,
        created);
  }

  @Override
  ObjectNode opening(Choice choice) {
    ObjectNode node = NODES.objectNode();
    node.put("index", choice.index);
    node.putObject("delta").put("role", "assistant").put("content", "");
    node.putNull("logprobs");
    node.putNull("finish_reason");
    ObjectNode chunk = chunkOf(node);
    if (request.returnTokenIds()) {
      chunk.set("prompt_token_ids", ids(choice.prepared.promptTokens()));
    }
    return chunk;
  }

  @Override
  ObjectNode choiceNode(
      Choice choice,
      String text,
      List<SampledToken> tokens,
      @Nullable Ending ending,
      boolean streaming) {
    ObjectNode node = NODES.objectNode();
    node.put("index", choice.index);
    if (streaming) {
      ObjectNode delta = node.putObject("delta");
      if (!text.isEmpty()) {
        delta.put("content", text);
      }
    } else {
      node.putObject("message").put("role", "assistant").put("content", text).putNull("refusal");
    }
    if (tokens.stream().anyMatch(SampledToken::hasLogprobs)) {
      ObjectNode logprobs = node.putObject("logprobs");
      ArrayNode content = logprobs.putArray("content");
      tokens.forEach(token -> content.add(logprob(text(choice), token)));
      logprobs.putNull("refusal");
    } else {
      node.putNull("logprobs");
    }
    putEnding(node, ending);
    if (request.returnTokenIds()) {
      node.set("token_ids", ids(tokens));
    }
    return node;
  }

  @Override
  ObjectNode whole(List<Choice> choices) {
    ObjectNode reply = super.whole(choices);
    putPromptLogprobs(reply, choices.getFirst());
    if (request.returnTokenIds()) {
      reply.set("prompt_token_ids", ids(choices.getFirst().prepared.promptTokens()));
    }
    return reply;
  }

  private static ObjectNode logprob(TextModel text, SampledToken token) {
    ObjectNode node = entry(text, chosen(token));
    ArrayNode top = node.putArray("top_logprobs");
    token.getLogprobs().getTopList().forEach(other -> top.add(entry(text, other)));
    return node;
  }

  private static ObjectNode entry(TextModel text, TokenLogprob token) {
    TextModel.TokenText shown = text.token(token.getTokenId());
    ObjectNode node = NODES.objectNode();
    node.put("token", shown.text());
    node.put("logprob", finite(token.getLogprob()));
    ArrayNode bytes = node.putArray("bytes");
    for (byte value : shown.bytes()) {
      bytes.add(value & 0xff);
    }
    return node;
  }
}
