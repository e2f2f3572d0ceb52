package dev.baton.router.template;

import java.math.BigInteger;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The arguments of one call. */
record Arguments(List<Object> positional, Map<String, Object> named) {

  static final Arguments NONE = new Arguments(List.of(), Map.of());

  /**
   * The arguments in the order of the function's parameters; null where one was not given. Fails as
   * Python does when there are too many, or a name that the function does not have.
   */
  @Nullable Object[] bind(String function, String... parameters) {
    if (positional.size() > parameters.length) {
      throw new TemplateException(
          function
              + ": "
              + positional.size()
              + " arguments (expected: at most "
              + parameters.length
              + ")");
    }
    @Nullable Object[] bound = new @Nullable Object[parameters.length];
    for (int i = 0; i < positional.size(); i++) {
      bound[i] = positional.get(i);
    }
    named.forEach(
        (name, value) -> {
          int index = List.of(parameters).indexOf(name);
          if (index < 0) {
            throw new TemplateException(function + ": unknown argument '" + name + "'");
          }
          if (bound[index] != null) {
            throw new TemplateException(function + ": argument '" + name + "' given twice");
          }
          bound[index] = value;
        });
    return bound;
  }

  /** An argument that must be there. */
  static Object required(String function, String parameter, @Nullable Object value) {
    if (value == null) {
      throw new TemplateException(function + ": missing argument '" + parameter + "'");
    }
    return value;
  }

  /** An argument that must be text. */
  static String text(String function, String parameter, @Nullable Object value) {
    return switch (required(function, parameter, value)) {
      case String text -> text;
      case Value.Markup markup -> markup.text();
      case Object other ->
          throw new TemplateException(
              function + ": " + parameter + ": " + Values.type(other) + " (expected: str)");
    };
  }

  /** An argument that must be a small integer; the default when it is not given or None. */
  static int integer(String function, String parameter, @Nullable Object value, int fallback) {
    if (value == null || value == Value.None.NONE) {
      return fallback;
    }
    BigInteger number = Values.integer(value);
    if (number == null) {
      throw new TemplateException(
          function + ": " + parameter + ": " + Values.type(value) + " (expected: int)");
    }
    if (number.bitLength() > 31) {
      throw new TemplateException(function + ": " + parameter + ": " + number + " is out of range");
    }
    return number.intValue();
  }

  static boolean flag(@Nullable Object value) {
    return value != null && Values.truth(value);
  }
}
