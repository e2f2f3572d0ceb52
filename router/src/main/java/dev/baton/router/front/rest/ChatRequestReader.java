package dev.baton.router.front.rest;

import dev.baton.router.generation.GenerationRequest;
import dev.baton.router.generation.Prompt;
import dev.baton.router.text.TextModel;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** Reads the body of POST /v1/chat/completions. */
final class ChatRequestReader {

  private static final Set<String> ROLES =
      Set.of("system", "developer", "user", "assistant", "tool");

  private static final List<String> NOT_DONE =
      List.of(
          "tools",
          "functions",
          "audio",
          "prediction",
          "web_search_options",
          "echo",
          "documents",
          "continue_final_message");

  private static final int MAX_MESSAGES = 4096;

  private ChatRequestReader() {}

  static RestRequest read(JsonFields body, String requestId) {
    CommonParameters.refuseUnsupported(body, NOT_DONE);
    refuseToolChoice(body, "tool_choice");
    refuseToolChoice(body, "function_call");
    if (!body.strings("modalities").stream().allMatch("text"::equals)) {
      throw CommonParameters.unsupported("modalities", "not only text (expected: [\"text\"])");
    }
    var sampling = CommonParameters.sampling(body);
    String maxTokensField =
        body.has("max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
    CommonParameters.maxTokens(body, maxTokensField)
        .ifPresent(value -> sampling.setMaxTokens((int) value));
    var top = body.integer("top_logprobs", 0, 20);
    if (body.bool("logprobs", false)) {
      sampling.setLogprobs((int) top.orElse(0));
    } else if (top.orElse(0) > 0) {
      throw JsonFields.invalid(
          "top_logprobs", "given without logprobs", "only with logprobs: true");
    }
    GenerationRequest request =
        new GenerationRequest(
            requestId,
            body.string("model").orElse(""),
            new Prompt.Chat(
                new TextModel.ChatInput(
                    messages(body),
                    null,
                    body.bool("add_generation_prompt", true),
                    templateVariables(body))),
            sampling.build(),
            maxTokensField,
            0,
            body.strings("stop"),
            body.bool("skip_special_tokens", true),
            0,
            body.string("cache_salt").orElse(""),
            CommonParameters.priority(body));
    return new RestRequest(
        List.of(request),
        CommonParameters.n(body),
        body.bool("stream", false),
        CommonParameters.includeUsage(body),
        body.bool("return_token_ids", false),
        false);
  }

  private static List<Map<String, @Nullable Object>> messages(JsonFields body) {
    List<JsonFields> messages = body.objects("messages");
    if (messages == null || messages.isEmpty()) {
      throw JsonFields.invalid(
          "messages", messages == null ? "absent" : "empty", "a list of at least one message");
    }
    if (messages.size() > MAX_MESSAGES) {
      throw JsonFields.invalid("messages", messages.size() + " messages", "<= " + MAX_MESSAGES);
    }
    List<Map<String, @Nullable Object>> maps = new ArrayList<>();
    for (JsonFields message : messages) {
      maps.add(message(message));
    }
    return maps;
  }

  private static Map<String, @Nullable Object> message(JsonFields message) {
    String role = message.string("role").orElse("");
    if (!ROLES.contains(role)) {
      throw JsonFields.invalid(
          message.name("role"), '"' + role + '"', "system, developer, user, assistant or tool");
    }
    for (String field : List.of("tool_calls", "function_call", "audio")) {
      if (message.has(field)) {
        throw CommonParameters.unsupported(
            message.name(field), "not done by this server (expected: absent)");
      }
    }
    Map<String, @Nullable Object> map = new HashMap<>();
    // Templates know the older name.
    map.put("role", role.equals("developer") ? "system" : role);
    map.put("content", content(message));
    message.string("name").ifPresent(name -> map.put("name", name));
    message.string("tool_call_id").ifPresent(id -> map.put("tool_call_id", id));
    return map;
  }

  /** A string, or text parts, which are joined by line feeds. */
  private static String content(JsonFields message) {
    Optional<JsonNode> content = message.node("content");
    if (content.isEmpty()) {
      throw JsonFields.invalid(
          message.name("content"), "absent", "a string or a list of text parts");
    }
    if (content.get().isString()) {
      return content.get().stringValue();
    }
    if (!content.get().isArray()) {
      throw message.wrong("content", content.get(), "a string or a list of text parts");
    }
    List<String> parts = new ArrayList<>();
    for (JsonFields part : java.util.Objects.requireNonNull(message.objects("content"))) {
      String type = part.string("type").orElse("");
      if (!type.equals("text")) {
        throw CommonParameters.unsupported(
            part.name("type"), '"' + type + "\" (expected: \"text\", the only one done)");
      }
      parts.add(
          part.string("text")
              .orElseThrow(() -> JsonFields.invalid(part.name("text"), "absent", "a string")));
    }
    return String.join("\n", parts);
  }

  private static Map<String, @Nullable Object> templateVariables(JsonFields body) {
    Map<String, @Nullable Object> variables = new HashMap<>();
    body.object("chat_template_kwargs")
        .ifPresent(
            given ->
                given
                    .properties()
                    .forEach(entry -> variables.put(entry.getKey(), plain(entry.getValue()))));
    return variables;
  }

  private static @Nullable Object plain(JsonNode node) {
    if (node.isArray()) {
      List<@Nullable Object> list = new ArrayList<>();
      node.forEach(element -> list.add(plain(element)));
      return list;
    }
    if (node.isObject()) {
      Map<String, @Nullable Object> map = new HashMap<>();
      node.properties().forEach(entry -> map.put(entry.getKey(), plain(entry.getValue())));
      return map;
    }
    if (node.isBoolean()) {
      return node.booleanValue();
    }
    if (node.isNumber()) {
      return node.numberValue();
    }
    return node.isNull() ? null : node.asString();
  }

  private static void refuseToolChoice(JsonFields body, String field) {
    JsonNode choice = body.node(field).orElse(null);
    if (choice != null
        && !(choice.isString() && Set.of("none", "auto").contains(choice.stringValue()))) {
      throw CommonParameters.unsupported(field, "not done by this server (expected: absent)");
    }
  }
}
