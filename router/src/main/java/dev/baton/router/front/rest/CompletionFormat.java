package dev.baton.router.front.rest;

import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.router.generation.Ending;
import dev.baton.router.generation.Prompt;
import java.util.List;
import org.jspecify.annotations.Nullable;
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
    return chunkOf(choiceNode(choice, "", List.of(), null, true));
  }

  @Override
  ObjectNode choiceNode(
      Choice choice,
      String text,
      List<SampledToken> tokens,
      @Nullable Ending ending,
      boolean streaming) {
    List<SampledToken> told = request.promptOnly() ? List.of() : tokens;
    boolean echoing = request.echo() && !choice.begun;
    String own = request.promptOnly() ? "" : text;
    ObjectNode node = NODES.objectNode();
    node.put("index", choice.index);
    node.put("text", echoing ? echo(choice) + own : own);
    boolean scored = echoing && choice.prepared.request().sampling().hasLogprobs();
    if (scored || told.stream().anyMatch(SampledToken::hasLogprobs)) {
      node.set("logprobs", logprobs(choice, told, scored));
    } else {
      node.putNull("logprobs");
    }
    putEnding(node, ending);
    if (request.returnTokenIds()) {
      if (!choice.begun) {
        node.set("prompt_token_ids", ids(choice.prepared.promptTokens()));
      }
      node.set("token_ids", ids(told));
    }
    if (!streaming) {
      putPromptLogprobs(node, choice);
    }
    choice.begun = true;
    return node;
  }

  private static String echo(Choice choice) {
    return choice.prepared.request().prompt() instanceof Prompt.Text(String text, boolean special)
        ? text
        : text(choice).decode(choice.prepared.promptTokens(), true);
  }

  /**
   * @param withPrompt the prompt's tokens come first
   */
  private static ObjectNode logprobs(Choice choice, List<SampledToken> tokens, boolean withPrompt) {
    TokenColumns columns = new TokenColumns(text(choice));
    if (withPrompt) {
      columns.addPrompt(choice);
      String echoed = echo(choice);
      choice.beginAt(echoed.codePointCount(0, echoed.length()));
    }
    for (SampledToken token : tokens) {
      columns.add(token, choice.offset(token.getTokenId()));
    }
    return columns.node();
  }
}
