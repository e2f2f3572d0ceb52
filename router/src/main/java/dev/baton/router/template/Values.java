package dev.baton.router.template;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What Python does with values whatever their type: truth, equality, order, length, walking. */
final class Values {

  private Values() {}

  /** A value from outside in the interpreter's types. */
  static Object of(@Nullable Object outside) {
    return switch (outside) {
      case null -> Value.None.NONE;
      case String text -> text;
      case Boolean flag -> flag;
      case BigInteger number -> number;
      case Byte number -> BigInteger.valueOf(number);
      case Short number -> BigInteger.valueOf(number);
      case Integer number -> BigInteger.valueOf(number);
      case Long number -> BigInteger.valueOf(number);
      case BigDecimal number -> number.doubleValue();
      case Number number -> number.doubleValue();
      case List<?> list -> {
        List<Object> items = new ArrayList<>(list.size());
        list.forEach(item -> items.add(of(item)));
        yield items;
      }
      case Map<?, ?> map -> {
        Map<Object, Object> dict = new LinkedHashMap<>();
        map.forEach((key, item) -> dict.put(of(key), of(item)));
        yield dict;
      }
      default ->
          throw new IllegalArgumentException("template variable: " + outside.getClass().getName());
    };
  }

  /** The type as Python names it. */
  static String type(Object value) {
    return switch (value) {
      case String text -> "str";
      case Value.Markup markup -> "Markup";
      case Boolean flag -> "bool";
      case BigInteger number -> "int";
      case Double number -> "float";
      case List<?> list -> "list";
      case Map<?, ?> map -> "dict";
      case Value.None none -> "NoneType";
      case Value.Undefined undefined -> "Undefined";
      case Value.Tuple tuple -> "tuple";
      case Value.View view -> view.kind();
      case Value.Generator generator -> "generator";
      case Value.Namespace namespace -> "Namespace";
      case Value.Loop loop -> "LoopContext";
      case Value.Function function -> "function";
      default -> throw new IllegalStateException(value.getClass().getName());
    };
  }

  static boolean truth(Object value) {
    return switch (value) {
      case Boolean flag -> flag;
      case String text -> !text.isEmpty();
      case Value.Markup markup -> !markup.text().isEmpty();
      case BigInteger number -> number.signum() != 0;
      case Double number -> number != 0;
      case List<?> list -> !list.isEmpty();
      case Map<?, ?> map -> !map.isEmpty();
      case Value.Tuple tuple -> !tuple.items().isEmpty();
      case Value.View view -> !view.items().isEmpty();
      case Value.None none -> false;
      case Value.Undefined undefined -> false;
      default -> true;
    };
  }

  /** An int, or a bool as the int that it is in Python; null for others. */
  static @Nullable BigInteger integer(Object value) {
    return switch (value) {
      case BigInteger number -> number;
      case Boolean flag -> flag ? BigInteger.ONE : BigInteger.ZERO;
      default -> null;
    };
  }

  /** A number as a float; null for others. */
  static @Nullable Double real(Object value) {
    if (value instanceof Double number) {
      return number;
    }
    BigInteger number = integer(value);
    return number == null ? null : (Double) number.doubleValue();
  }

  /** The characters of a str, marked or not; null for others. */
  static @Nullable String string(Object value) {
    return switch (value) {
      case String text -> text;
      case Value.Markup markup -> markup.text();
      default -> null;
    };
  }

  static boolean equal(Object a, Object b) {
    String left = string(a);
    if (left != null) {
      return left.equals(string(b));
    }
    BigInteger whole = integer(a);
    if (whole != null && integer(b) instanceof BigInteger other) {
      return whole.equals(other);
    }
    if (real(a) instanceof Double number) {
      return real(b) instanceof Double other && number.doubleValue() == other.doubleValue();
    }
    return switch (a) {
      case List<?> list -> b instanceof List<?> other && equalItems(list, other);
      case Value.Tuple tuple ->
          b instanceof Value.Tuple other && equalItems(tuple.items(), other.items());
      case Map<?, ?> map -> b instanceof Map<?, ?> other && equalMaps(map, other);
      case Value.Undefined undefined -> b instanceof Value.Undefined;
      default -> a == b;
    };
  }

  private static boolean equalItems(List<?> a, List<?> b) {
    if (a.size() != b.size()) {
      return false;
    }
    for (int i = 0; i < a.size(); i++) {
      if (!equal(item(a, i), item(b, i))) {
        return false;
      }
    }
    return true;
  }

  private static Object item(List<?> list, int index) {
    return Objects.requireNonNull(list.get(index));
  }

  private static boolean equalMaps(Map<?, ?> a, Map<?, ?> b) {
    if (a.size() != b.size()) {
      return false;
    }
    for (Map.Entry<?, ?> entry : a.entrySet()) {
      Object other = b.get(entry.getKey());
      if (other == null || !equal(Objects.requireNonNull(entry.getValue()), other)) {
        return false;
      }
    }
    return true;
  }

  /** Python's order: negative, zero or positive; fails for types that have none. */
  static int compare(Object a, Object b, String operator) {
    if (string(a) instanceof String left && string(b) instanceof String right) {
      return Text.compare(left, right);
    }
    if (integer(a) instanceof BigInteger left && integer(b) instanceof BigInteger right) {
      return left.compareTo(right);
    }
    if (real(a) instanceof Double left && real(b) instanceof Double right) {
      return Double.compare(left + 0.0, right + 0.0);
    }
    if (a instanceof List<?> left && b instanceof List<?> right) {
      return compareItems(left, right, operator);
    }
    if (a instanceof Value.Tuple left && b instanceof Value.Tuple right) {
      return compareItems(left.items(), right.items(), operator);
    }
    refuseUndefined(a, b);
    throw new TemplateException(
        "'"
            + operator
            + "' between '"
            + type(a)
            + "' and '"
            + type(b)
            + "' (expected: comparable)");
  }

  private static int compareItems(List<?> a, List<?> b, String operator) {
    for (int i = 0; i < Math.min(a.size(), b.size()); i++) {
      if (!equal(item(a, i), item(b, i))) {
        return compare(item(a, i), item(b, i), operator);
      }
    }
    return Integer.compare(a.size(), b.size());
  }

  static void refuseUndefined(Object... values) {
    for (Object value : values) {
      if (value instanceof Value.Undefined undefined) {
        throw undefined.error();
      }
    }
  }

  static boolean contains(Object container, Object item) {
    if (string(container) instanceof String text) {
      if (string(item) instanceof String part) {
        return text.contains(part);
      }
      refuseUndefined(item);
      throw new TemplateException("'in' a str: '" + type(item) + "' (expected: str)");
    }
    if (container instanceof Map<?, ?> map) {
      return map.containsKey(key(item));
    }
    for (Object each : items(container)) {
      if (equal(each, item)) {
        return true;
      }
    }
    return false;
  }

  /** A value as the key of a dict: equal keys must be equal objects. */
  static Object key(Object value) {
    return switch (value) {
      case Value.Markup markup -> markup.text();
      case Boolean flag -> flag;
      case List<?> list -> throw new TemplateException("unhashable type: 'list'");
      case Map<?, ?> map -> throw new TemplateException("unhashable type: 'dict'");
      default -> value;
    };
  }

  /** What walking the value gives. */
  @SuppressWarnings("unchecked") // lists and maps hold nothing but values
  static List<Object> items(Object value) {
    return switch (value) {
      case List<?> list -> (List<Object>) list;
      case Map<?, ?> map -> new ArrayList<>((java.util.Set<Object>) map.keySet());
      case Value.Tuple tuple -> tuple.items();
      case Value.View view -> view.items();
      case Value.Generator generator -> generator.drain();
      case Value.Undefined undefined -> List.of();
      case String text -> characters(text);
      case Value.Markup markup -> characters(markup.text());
      default -> throw new TemplateException("'" + type(value) + "' cannot be walked");
    };
  }

  private static List<Object> characters(String text) {
    return new ArrayList<>(text.codePoints().mapToObj(Character::toString).toList());
  }

  static int length(Object value) {
    return switch (value) {
      case String text -> Text.length(text);
      case Value.Markup markup -> Text.length(markup.text());
      case List<?> list -> list.size();
      case Map<?, ?> map -> map.size();
      case Value.Tuple tuple -> tuple.items().size();
      case Value.View view -> view.items().size();
      case Value.Undefined undefined -> 0;
      case Value.Loop loop -> loop.items.size();
      default -> throw new TemplateException("'" + type(value) + "' has no length");
    };
  }
}
