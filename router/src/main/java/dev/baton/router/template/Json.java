package dev.baton.router.template;

import java.math.BigInteger;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** Python's json.dumps with ensure_ascii off, as the filter tojson calls it. */
final class Json {

  private static final int MAX_DEPTH = 500;

  private final StringBuilder out = new StringBuilder();
  private final @Nullable String indent;
  private final String itemSeparator;
  private final String keySeparator;
  private final boolean sortKeys;
  private final boolean ascii;

  /**
   * @param indent one level's; null for a single line
   */
  Json(
      @Nullable String indent,
      String itemSeparator,
      String keySeparator,
      boolean sortKeys,
      boolean ascii) {
    this.indent = indent;
    this.itemSeparator = itemSeparator;
    this.keySeparator = keySeparator;
    this.sortKeys = sortKeys;
    this.ascii = ascii;
  }

  String write(Object value) {
    write(value, 0);
    return out.toString();
  }

  private void write(Object value, int depth) {
    if (depth > MAX_DEPTH) {
      throw new TemplateException("tojson: nested deeper than " + MAX_DEPTH);
    }
    switch (value) {
      case String text -> quote(text);
      case Value.Markup markup -> quote(markup.text());
      case Boolean flag -> out.append(flag);
      case BigInteger number -> out.append(Printing.integer(number));
      case Double number -> out.append(real(number));
      case Value.None none -> out.append("null");
      case List<?> list -> array(list, depth);
      case Value.Tuple tuple -> array(tuple.items(), depth);
      case Map<?, ?> map -> object(map, depth);
      default ->
          throw new TemplateException(
              "tojson: object of type " + Values.type(value) + " (expected: a JSON value)");
    }
  }

  private static String real(double number) {
    if (Double.isNaN(number)) {
      return "NaN";
    }
    if (Double.isInfinite(number)) {
      return number > 0 ? "Infinity" : "-Infinity";
    }
    return Printing.real(number);
  }

  private void array(List<?> items, int depth) {
    if (items.isEmpty()) {
      out.append("[]");
      return;
    }
    out.append('[');
    String separator = "";
    for (Object item : items) {
      out.append(separator);
      newline(depth + 1);
      write(Objects.requireNonNull(item), depth + 1);
      separator = itemSeparator;
    }
    newline(depth);
    out.append(']');
  }

  private void object(Map<?, ?> map, int depth) {
    if (map.isEmpty()) {
      out.append("{}");
      return;
    }
    Map<?, ?> entries = map;
    if (sortKeys) {
      Map<Object, Object> sorted = new TreeMap<>((a, b) -> Values.compare(a, b, "<"));
      map.forEach((key, item) -> sorted.put(key, item));
      entries = sorted;
    }
    out.append('{');
    String separator = "";
    for (Map.Entry<?, ?> entry : entries.entrySet()) {
      out.append(separator);
      newline(depth + 1);
      quote(key(Objects.requireNonNull(entry.getKey())));
      out.append(keySeparator);
      write(Objects.requireNonNull(entry.getValue()), depth + 1);
      separator = itemSeparator;
    }
    newline(depth);
    out.append('}');
  }

  private static String key(Object key) {
    return switch (key) {
      case String text -> text;
      case Boolean flag -> flag ? "true" : "false";
      case Value.None none -> "null";
      case BigInteger number -> Printing.integer(number);
      case Double number -> real(number);
      default -> throw new TemplateException("tojson: key of type " + Values.type(key));
    };
  }

  private void newline(int depth) {
    if (indent != null) {
      out.append('\n').repeat(indent, depth);
    }
  }

  private void quote(String text) {
    out.append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '"' -> out.append("\\\"");
        case '\\' -> out.append("\\\\");
        case '\n' -> out.append("\\n");
        case '\r' -> out.append("\\r");
        case '\t' -> out.append("\\t");
        case '\f' -> out.append("\\f");
        case '\b' -> out.append("\\b");
        default -> {
          if (c < 0x20 || (ascii && c > 0x7E)) {
            out.append(String.format("\\u%04x", (int) c));
          } else {
            out.append(c);
          }
        }
      }
    }
    out.append('"');
  }
}
