package dev.baton.router.front.rest;

import dev.baton.router.generation.GenerationRequest;
import dev.baton.router.generation.Prompt;
import dev.baton.router.text.TextModel;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** Reads the body of POST /v1/chat/completions. */
final class ChatRequestReader {

  private static final List<String> NOT_DONE =
      List.of(
          "functions",
          "audio",
          "prediction",
          "web_search_options",
          "echo",
          "documents",
          "chat_template",
          "add_special_tokens");

  private static final int MAX_MESSAGES = 4096;

  private ChatRequestReader() {}

  /**
   * @param maxChoices bound of n
   */
  static RestRequest read(JsonFields body, String requestId, int maxChoices) {
    CommonParameters.refuseUnsupported(body, NOT_DONE);
    refuseTools(body);
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
            chat(body),
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
        CommonParameters.n(body, maxChoices),
        body.bool("stream", false),
        CommonParameters.includeUsage(body),
        body.bool("return_token_ids", false),
        false,
        false,
        (int) CommonParameters.promptLogprobs(body).orElse(-1));
  }

  /** The messages and how they are to be rendered. */
  static Prompt.Chat chat(JsonFields body) {
    boolean continueFinal = body.bool("continue_final_message", false);
    boolean generationPrompt = body.bool("add_generation_prompt", !continueFinal);
    if (continueFinal && generationPrompt) {
      throw JsonFields.invalid(
          "continue_final_message",
          "true with add_generation_prompt",
          "one of the two, the other false");
    }
    Map<String, @Nullable Object> variables = new HashMap<>();
    body.object("chat_template_kwargs")
        .ifPresent(
            given ->
                given
                    .properties()
                    .forEach(entry -> variables.put(entry.getKey(), plain(entry.getValue()))));
    return new Prompt.Chat(
        new TextModel.ChatInput(messages(body), null, generationPrompt, variables), continueFinal);
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
    if (!Prompt.Chat.ROLES.contains(role)) {
      throw JsonFields.invalid(
          message.name("role"), '"' + role + '"', "system, developer, user, assistant or tool");
    }
    for (String field : List.of("function_call", "audio")) {
      if (message.has(field)) {
        throw CommonParameters.unsupported(
            message.name(field), "not done by this server (expected: absent)");
      }
    }
    Map<String, @Nullable Object> map = new LinkedHashMap<>();
    map.put("role", role);
    List<JsonFields> calls = message.objects("tool_calls");
    boolean called = false;
    if (calls != null && !calls.isEmpty()) {
      called = true;
      if (!role.equals("assistant")) {
        throw JsonFields.invalid(message.name("tool_calls"), "of role " + role, "role assistant");
      }
      map.put("tool_calls", calls.stream().map(ChatRequestReader::toolCall).toList());
    }
    // An assistant that only called tools said nothing.
    map.put("content", called && !message.has("content") ? "" : content(message));
    for (String field : List.of("name", "tool_call_id", "reasoning_content")) {
      message.string(field).ifPresent(value -> map.put(field, value));
    }
    return asGiven(message, map);
  }

  /**
   * A call of an earlier turn. Templates write its arguments themselves, so they get them parsed.
   */
  private static Map<String, @Nullable Object> toolCall(JsonFields call) {
    JsonFields function =
        call.object("function")
            .orElseThrow(() -> JsonFields.invalid(call.name("function"), "absent", "an object"));
    Map<String, @Nullable Object> called = new LinkedHashMap<>();
    called.put(
        "name",
        function
            .string("name")
            .orElseThrow(() -> JsonFields.invalid(function.name("name"), "absent", "a string")));
    called.put("arguments", plain(function.jsonObject("arguments")));
    Map<String, @Nullable Object> map = new LinkedHashMap<>();
    call.string("id").ifPresent(id -> map.put("id", id));
    map.put("type", call.string("type").orElse("function"));
    map.put("function", asGiven(function, called));
    return asGiven(call, map);
  }

  /**
   * An object for templates: the fields in the request's order, for some templates write whole
   * objects; those that were read as they were read, and those that only a template may know.
   */
  private static Map<String, @Nullable Object> asGiven(
      JsonFields object, Map<String, @Nullable Object> read) {
    Map<String, @Nullable Object> all = new LinkedHashMap<>();
    object
        .properties()
        .forEach(
            field -> {
              String name = field.getKey();
              if (read.containsKey(name)) {
                all.put(name, read.get(name));
              } else if (object.has(name)) {
                all.put(name, plain(field.getValue()));
              }
            });
    read.forEach(all::putIfAbsent);
    return all;
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

  private static @Nullable Object plain(JsonNode node) {
    if (node.isArray()) {
      List<@Nullable Object> list = new ArrayList<>();
      node.forEach(element -> list.add(plain(element)));
      return list;
    }
    if (node.isObject()) {
      Map<String, @Nullable Object> map = new LinkedHashMap<>();
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

  /** Tools that shall not be called are no reason to refuse; what a model calls is not parsed. */
  private static void refuseTools(JsonFields body) {
    JsonNode choice = body.node("tool_choice").orElse(null);
    boolean none = choice != null && choice.isString() && choice.stringValue().equals("none");
    List<JsonFields> tools = body.objects("tools");
    if (tools != null && !tools.isEmpty() && !none) {
      throw CommonParameters.unsupported(
          "tools", "not done by this server (expected: absent, or tool_choice \"none\")");
    }
    for (String field : List.of("tool_choice", "function_call")) {
      JsonNode asked = body.node(field).orElse(null);
      if (asked != null
          && !(asked.isString() && Set.of("none", "auto").contains(asked.stringValue()))) {
        throw CommonParameters.unsupported(field, "not done by this server (expected: absent)");
      }
    }
  }
}
