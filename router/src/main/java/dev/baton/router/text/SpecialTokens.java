package dev.baton.router.text;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * The named special tokens that a chat template sees: bos_token, eos_token and so on, from
 * tokenizer_config.json, else special_tokens_map.json. A name without a token is left out.
 */
final class SpecialTokens {

  private static final List<String> NAMES =
      List.of(
          "bos_token",
          "eos_token",
          "unk_token",
          "sep_token",
          "pad_token",
          "cls_token",
          "mask_token",
          "additional_special_tokens");

  private SpecialTokens() {}

  static Map<String, Object> read(ModelDirectory directory) {
    Optional<JsonNode> config = directory.json("tokenizer_config.json");
    Optional<JsonNode> map = directory.json("special_tokens_map.json");
    Map<String, Object> tokens = new LinkedHashMap<>();
    for (String name : NAMES) {
      Object token = config.map(node -> content(node.path(name))).orElse(null);
      if (token == null) {
        token = map.map(node -> content(node.path(name))).orElse(null);
      }
      if (token != null) {
        tokens.put(name, token);
      }
    }
    return tokens;
  }

  /** A token is written as a string or as an object with its content; the last name has a list. */
  private static @Nullable Object content(JsonNode node) {
    if (node.isString()) {
      return node.asString();
    }
    if (node.isObject()) {
      return node.path("content").isString() ? node.path("content").asString() : null;
    }
    if (node.isArray()) {
      List<Object> all = new ArrayList<>();
      for (JsonNode element : node) {
        Object token = content(element);
        if (token != null) {
          all.add(token);
        }
      }
      return all;
    }
    return null;
  }
}
