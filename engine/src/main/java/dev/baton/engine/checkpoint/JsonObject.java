package dev.baton.engine.checkpoint;

import dev.baton.engine.EngineException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A JSON object of a model directory. The getters check type and range; an error is a BAD_MODEL
 * that names the file and the path of the field. A field that is null counts as absent.
 */
final class JsonObject {

  private static final JsonMapper MAPPER =
      JsonMapper.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();

  /** Bounds what is read into memory; the largest index files in use have some megabytes. */
  private static final long MAX_FILE_BYTES = 64L << 20;

  private final String source;
  private final JsonNode node;

  private JsonObject(String source, JsonNode node) {
    this.source = source;
    this.node = node;
  }

  static JsonObject read(Path file) {
    try {
      long size = Files.size(file);
      if (size > MAX_FILE_BYTES) {
        throw new EngineException(
            EngineException.Kind.BAD_MODEL,
            "%s: %d bytes (expected: <= %d)".formatted(file, size, MAX_FILE_BYTES));
      }
      return parse(file.toString(), Files.readAllBytes(file));
    } catch (IOException e) {
      throw new EngineException(
          EngineException.Kind.BAD_MODEL, "%s: cannot be read: %s".formatted(file, e), e);
    }
  }

  /**
   * @param source what errors name
   */
  static JsonObject parse(String source, byte[] bytes) {
    JsonNode node;
    try {
      node = MAPPER.readTree(bytes);
    } catch (JacksonException e) {
      throw new EngineException(
          EngineException.Kind.BAD_MODEL, "%s: not JSON: %s".formatted(source, reason(e)), e);
    }
    if (!node.isObject()) {
      throw new EngineException(
          EngineException.Kind.BAD_MODEL,
          "%s: a JSON %s (expected: an object)".formatted(source, node.getNodeType()));
    }
    return new JsonObject(source, node);
  }

  /** What is wrong and where; what is cut off names Jackson's own settings. */
  private static String reason(JacksonException e) {
    String what =
        e.getOriginalMessage()
            .replaceFirst(", from `[^`]*`", "")
            .split(" \\([^(]*\\[Source: ", 2)[0];
    var at = e.getLocation();
    return at == null
        ? what
        : "line %d, column %d: %s".formatted(at.getLineNr(), at.getColumnNr(), what);
  }

  /** Without fields; for a part of {@code whole} that is absent. */
  static JsonObject empty(JsonObject whole) {
    return new JsonObject(whole.source, MAPPER.createObjectNode());
  }

  String source() {
    return source;
  }

  /** In the file's order, so that of several faults the same one is named each time. */
  Set<String> names() {
    return Collections.unmodifiableSet(new LinkedHashSet<>(node.propertyNames()));
  }

  boolean has(String name) {
    return find(name) != null;
  }

  /** There, but null. */
  boolean isNull(String name) {
    JsonNode value = node.get(name);
    return value != null && value.isNull();
  }

  /** Absent, null, false, 0 or an empty list. */
  boolean isOff(String name) {
    JsonNode value = find(name);
    return value == null
        || (value.isBoolean() && !value.booleanValue())
        || (value.isNumber() && number(value) == 0)
        || (value.isArray() && value.isEmpty());
  }

  /** The object in a field. */
  JsonObject object(String name) {
    JsonNode value = require(name);
    if (!value.isObject()) {
      throw bad(name, value, "an object");
    }
    return new JsonObject(source + ": " + name, value);
  }

  String string(String name) {
    JsonNode value = require(name);
    if (!value.isString()) {
      throw bad(name, value, "a string");
    }
    return value.stringValue();
  }

  boolean flag(String name, boolean fallback) {
    JsonNode value = find(name);
    if (value == null) {
      return fallback;
    }
    if (!value.isBoolean()) {
      throw bad(name, value, "true or false");
    }
    return value.booleanValue();
  }

  /** A whole number in {@code [least, most]}. */
  int integer(String name, int least, int most) {
    return (int) whole(name, require(name), least, most);
  }

  int integer(String name, int least, int most, int fallback) {
    return has(name) ? integer(name, least, most) : fallback;
  }

  /** A finite number above 0. */
  double positive(String name) {
    JsonNode value = require(name);
    double number = value.isNumber() ? number(value) : Double.NaN;
    if (!(number > 0 && number < Double.POSITIVE_INFINITY)) {
      throw bad(name, value, "a number > 0");
    }
    return number;
  }

  /** Infinite where a whole number is too large for a double. */
  private static double number(JsonNode value) {
    return Double.parseDouble(value.asString());
  }

  double positive(String name, double fallback) {
    return has(name) ? positive(name) : fallback;
  }

  /** One whole number or a list of them, each in {@code [least, most]}; empty when absent. */
  List<Integer> integers(String name, int least, int most) {
    List<Integer> numbers = new ArrayList<>();
    for (long number : longs(name, least, most)) {
      numbers.add((int) number);
    }
    return numbers;
  }

  List<Long> longs(String name, long least, long most) {
    JsonNode value = find(name);
    List<Long> numbers = new ArrayList<>();
    if (value == null) {
      return numbers;
    }
    if (!value.isArray()) {
      numbers.add(whole(name, value, least, most));
      return numbers;
    }
    for (JsonNode each : value) {
      numbers.add(whole(name, each, least, most));
    }
    return numbers;
  }

  List<String> strings(String name) {
    JsonNode value = require(name);
    if (!value.isArray()) {
      throw bad(name, value, "a list of strings");
    }
    List<String> strings = new ArrayList<>();
    for (JsonNode each : value) {
      if (!each.isString()) {
        throw bad(name, value, "a list of strings");
      }
      strings.add(each.stringValue());
    }
    return strings;
  }

  /** The error for a field whose value does not do. */
  EngineException bad(String name, String expected) {
    return bad(name, require(name), expected);
  }

  private EngineException bad(String name, JsonNode value, String expected) {
    String text = value.toString();
    return new EngineException(
        EngineException.Kind.BAD_MODEL,
        "%s: %s: %s (expected: %s)"
            .formatted(
                source,
                name,
                text.length() > 200 ? text.substring(0, 200) + "..." : text,
                expected));
  }

  private long whole(String name, JsonNode value, long least, long most) {
    if (!value.isIntegralNumber()
        || !value.canConvertToLong()
        || value.longValue() < least
        || value.longValue() > most) {
      throw bad(name, value, "a whole number from %d to %d".formatted(least, most));
    }
    return value.longValue();
  }

  private JsonNode require(String name) {
    JsonNode value = find(name);
    if (value == null) {
      throw new EngineException(
          EngineException.Kind.BAD_MODEL, "%s: %s: missing".formatted(source, name));
    }
    return value;
  }

  private @Nullable JsonNode find(String name) {
    JsonNode value = node.get(name);
    return value == null || value.isNull() ? null : value;
  }
}
