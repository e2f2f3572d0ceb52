package dev.baton.router.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Methods of dicts, lists and tuples, and the way to those of strings. Methods that change a value
 * are known but, as in jinja2's immutable sandbox, undefined.
 */
final class Methods {

  private static final Set<String> DICT = Set.of("get", "items", "keys", "values", "copy");
  private static final Set<String> DICT_CHANGING =
      Set.of("clear", "pop", "popitem", "setdefault", "update");
  private static final Set<String> LIST = Set.of("index", "count", "copy");
  private static final Set<String> LIST_CHANGING =
      Set.of("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort");

  private Methods() {}

  /** Whether values of any type have such a method. */
  static boolean isKnown(String name) {
    return DICT.contains(name)
        || DICT_CHANGING.contains(name)
        || LIST.contains(name)
        || LIST_CHANGING.contains(name)
        || LoopAttributes.FUNCTIONS.contains(name)
        || StringMethods.isKnown(name);
  }

  /** The value's method of that name, or null. */
  static @Nullable Object of(Object target, String name) {
    return switch (target) {
      case String text when StringMethods.isKnown(name) -> StringMethods.of(text, name);
      case Value.Markup markup when StringMethods.isKnown(name) ->
          StringMethods.of(markup.text(), name);
      case Map<?, ?> map when DICT_CHANGING.contains(name) -> changing(target, name);
      case Map<?, ?> map when DICT.contains(name) ->
          (Value.Function) (run, arguments) -> dict(map, name, arguments);
      case List<?> list when LIST_CHANGING.contains(name) -> changing(target, name);
      case List<?> list when LIST.contains(name) ->
          (Value.Function) (run, arguments) -> list(Values.items(list), name, arguments);
      case Value.Tuple tuple when name.equals("index") || name.equals("count") ->
          (Value.Function) (run, arguments) -> list(tuple.items(), name, arguments);
      default -> null;
    };
  }

  private static Object changing(Object target, String name) {
    return new Value.Undefined(
        "method '" + name + "' of a " + Values.type(target) + ", which would change it,");
  }

  private static Object dict(Map<?, ?> map, String name, Arguments arguments) {
    switch (name) {
      case "get" -> {
        @Nullable Object[] bound = arguments.bind("get", "key", "default");
        Object key = Arguments.required("get", "key", bound[0]);
        Object found = map.get(Values.key(key));
        Object fallback = bound[1] == null ? Value.None.NONE : bound[1];
        return found == null ? fallback : found;
      }
      case "copy" -> {
        arguments.bind("copy");
        return new LinkedHashMap<Object, Object>(map);
      }
      default -> {
        arguments.bind(name);
        return view(map, name);
      }
    }
  }

  private static Value.View view(Map<?, ?> map, String name) {
    return new Value.View(
        "dict_" + name,
        switch (name) {
          case "keys" -> Values.items(map);
          case "values" -> new ArrayList<>(map.values());
          default -> pairs(map);
        });
  }

  /** The entries as tuples of key and value. */
  static List<Object> pairs(Map<?, ?> map) {
    List<Object> pairs = new ArrayList<>(map.size());
    map.forEach(
        (key, value) ->
            pairs.add(
                new Value.Tuple(
                    List.of(Objects.requireNonNull(key), Objects.requireNonNull(value)))));
    return pairs;
  }

  private static Object list(List<Object> items, String name, Arguments arguments) {
    if (name.equals("copy")) {
      arguments.bind("copy");
      return new ArrayList<>(items);
    }
    Object wanted = Arguments.required(name, "value", arguments.bind(name, "value")[0]);
    int count = 0;
    for (int i = 0; i < items.size(); i++) {
      if (Values.equal(items.get(i), wanted)) {
        if (name.equals("index")) {
          return BigInteger.valueOf(i);
        }
        count++;
      }
    }
    if (name.equals("index")) {
      throw new TemplateException("index: no such item in the list");
    }
    return BigInteger.valueOf(count);
  }
}
