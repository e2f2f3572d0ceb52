package dev.baton.router.front.rest;

import dev.baton.router.failure.FailureException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.exc.StreamConstraintsException;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A JSON object whose fields are read with their types checked. A field that is null counts as
 * absent. Every error names the field, what it is and what was expected.
 */
final class JsonFields {

  private static final int MAX_DEPTH = 64;
  private static final int MAX_NUMBER = 100;
  private static final int MAX_SHOWN = 40;

  private static final JsonMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(MAX_DEPTH)
                          // Bounded by the body already.
                          .maxStringLength(Integer.MAX_VALUE)
                          .maxNumberLength(MAX_NUMBER)
                          .build())
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private final String path;
  private final JsonNode object;

  private JsonFields(String path, JsonNode object) {
    this.path = path;
    this.object = object;
  }

  /**
   * Parses a request body.
   *
   * @throws FailureException naming the position of what is malformed
   */
  static JsonFields parse(byte[] body) {
    JsonNode root;
    try {
      root = MAPPER.readTree(body);
    } catch (StreamConstraintsException e) {
      // Its message names Jackson's own settings from here on.
      String reason = e.getOriginalMessage().split(", from `", 2)[0];
      throw FailureException.invalid("", "body: " + reason + ") (expected: no more)");
    } catch (JacksonException e) {
      var at = e.getLocation();
      throw FailureException.invalid(
          "",
          "body: malformed JSON at line "
              + (at == null ? 0 : at.getLineNr())
              + ", column "
              + (at == null ? 0 : at.getColumnNr())
              + ": "
              // What follows names Jackson's own settings.
              + e.getOriginalMessage().split(": enable `| \\([^(]*\\[Source: ", 2)[0]
              + " (expected: a JSON object)");
    }
    if (!root.isObject()) {
      throw FailureException.invalid("", "body: " + kind(root) + " (expected: a JSON object)");
    }
    return new JsonFields("", root);
  }

  /** The field as it is; empty when absent or null. */
  Optional<JsonNode> node(String field) {
    JsonNode node = object.get(field);
    return node == null || node.isNull() ? Optional.empty() : Optional.of(node);
  }

  boolean has(String field) {
    return node(field).isPresent();
  }

  Optional<String> string(String field) {
    return node(field)
        .map(
            node -> {
              if (!node.isString()) {
                throw wrong(field, node, "a string");
              }
              return node.stringValue();
            });
  }

  boolean bool(String field, boolean absent) {
    return node(field)
        .map(
            node -> {
              if (!node.isBoolean()) {
                throw wrong(field, node, "true or false");
              }
              return node.booleanValue();
            })
        .orElse(absent);
  }

  OptionalLong integer(String field, long least, long most) {
    Optional<JsonNode> node = node(field);
    return node.isEmpty()
        ? OptionalLong.empty()
        : OptionalLong.of(integer(name(field), node.get(), least, most));
  }

  OptionalDouble number(String field) {
    Optional<JsonNode> node = node(field);
    if (node.isEmpty()) {
      return OptionalDouble.empty();
    }
    if (!node.get().isNumber()) {
      throw wrong(field, node.get(), "a number");
    }
    return OptionalDouble.of(Double.parseDouble(node.get().asString()));
  }

  /** A string, or a list of strings. */
  List<String> strings(String field) {
    Optional<JsonNode> node = node(field);
    if (node.isEmpty()) {
      return List.of();
    }
    if (node.get().isString()) {
      return List.of(node.get().stringValue());
    }
    if (!node.get().isArray()) {
      throw wrong(field, node.get(), "a string or a list of strings");
    }
    List<String> strings = new ArrayList<>();
    for (JsonNode element : node.get()) {
      if (!element.isString()) {
        throw wrong(field + "[" + strings.size() + "]", element, "a string");
      }
      strings.add(element.stringValue());
    }
    return strings;
  }

  /** A list of 32-bit integers; null when absent. */
  int @Nullable [] integers(String field) {
    Optional<JsonNode> node = node(field);
    return node.isEmpty() ? null : integers(name(field), node.get());
  }

  /** The field as an object; empty when absent. */
  Optional<JsonFields> object(String field) {
    return node(field).map(node -> object(name(field), node));
  }

  /** The field as a list of objects; null when absent. */
  @Nullable List<JsonFields> objects(String field) {
    Optional<JsonNode> node = node(field);
    if (node.isEmpty()) {
      return null;
    }
    if (!node.get().isArray()) {
      throw wrong(field, node.get(), "a list of objects");
    }
    List<JsonFields> objects = new ArrayList<>();
    for (JsonNode element : node.get()) {
      objects.add(object(name(field) + "[" + objects.size() + "]", element));
    }
    return objects;
  }

  /** An object that is given as such or as a string of JSON; an absent or empty one is empty. */
  JsonNode jsonObject(String field) {
    JsonNode node = node(field).orElse(null);
    if (node == null || (node.isString() && node.stringValue().isBlank())) {
      return MAPPER.createObjectNode();
    }
    if (node.isString()) {
      try {
        node = MAPPER.readTree(node.stringValue());
      } catch (JacksonException e) {
        throw invalid(name(field), "malformed JSON", "a JSON object in a string");
      }
    }
    if (!node.isObject()) {
      throw wrong(field, node, "a JSON object in a string");
    }
    return node;
  }

  /** All fields. */
  Set<Map.Entry<String, JsonNode>> properties() {
    return object.properties();
  }

  /** The field's full name, as in messages[2].content. */
  String name(String field) {
    return path.isEmpty() ? field : path + "." + field;
  }

  FailureException wrong(String field, JsonNode node, String expected) {
    return invalid(name(field), shown(node), expected);
  }

  static int[] integers(String name, JsonNode node) {
    if (!node.isArray()) {
      throw invalid(name, shown(node), "a list of integers");
    }
    int[] integers = new int[node.size()];
    int count = 0;
    for (JsonNode element : node) {
      integers[count] =
          (int) integer(name + "[" + count + "]", element, Integer.MIN_VALUE, Integer.MAX_VALUE);
      count++;
    }
    return integers;
  }

  /** The node as JSON, shortened. */
  static String shown(JsonNode node) {
    if (node.isContainer()) {
      return kind(node);
    }
    String text =
        node.isString() ? '"' + node.stringValue() + '"' : node.isNull() ? "null" : node.asString();
    return text.length() <= MAX_SHOWN ? text : text.substring(0, MAX_SHOWN) + "...";
  }

  static FailureException invalid(String name, Object value, String expected) {
    return FailureException.invalid(name, name + ": " + value + " (expected: " + expected + ")");
  }

  private static long integer(String name, JsonNode node, long least, long most) {
    if (!node.isNumber()) {
      throw invalid(name, shown(node), "an integer");
    }
    long value;
    if (node.isIntegralNumber() && node.canConvertToLong()) {
      value = node.longValue();
    } else {
      // Some clients write 16.0.
      double fraction = Double.parseDouble(node.asString());
      value = (long) fraction;
      if (value != fraction || Math.abs(fraction) > 1L << 53) {
        throw invalid(
            name, shown(node), node.isIntegralNumber() ? range(least, most) : "an integer");
      }
    }
    if (value < least || value > most) {
      throw invalid(name, value, range(least, most));
    }
    return value;
  }

  private static String range(long least, long most) {
    return least + " to " + most;
  }

  private static JsonFields object(String name, JsonNode node) {
    if (!node.isObject()) {
      throw invalid(name, shown(node), "an object");
    }
    return new JsonFields(name, node);
  }

  private static String kind(JsonNode node) {
    return switch (node.getNodeType()) {
      case ARRAY -> "a list";
      case OBJECT -> "an object";
      case STRING -> "a string";
      case NUMBER -> "a number";
      case BOOLEAN -> "a boolean";
      case NULL -> "null";
      case MISSING -> "nothing";
      case BINARY, POJO -> "something else";
    };
  }
}
