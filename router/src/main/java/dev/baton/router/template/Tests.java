package dev.baton.router.template;

import java.math.BigInteger;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What can stand after {@code is}. */
final class Tests {

  private static final Set<String> WITH_ARGUMENT =
      Set.of(
          "eq",
          "equalto",
          "==",
          "ne",
          "!=",
          "lt",
          "lessthan",
          "<",
          "gt",
          "greaterthan",
          ">",
          "le",
          "<=",
          "ge",
          ">=",
          "in",
          "sameas",
          "divisibleby");
  private static final Set<String> OF_NAMES = Set.of("filter", "test");
  private static final Set<String> PLAIN =
      Set.of(
          "defined",
          "undefined",
          "none",
          "string",
          "number",
          "integer",
          "float",
          "boolean",
          "true",
          "false",
          "mapping",
          "iterable",
          "sequence",
          "callable",
          "odd",
          "even",
          "lower",
          "upper");

  private Tests() {}

  static boolean isKnown(String name) {
    return WITH_ARGUMENT.contains(name) || PLAIN.contains(name) || OF_NAMES.contains(name);
  }

  static boolean test(String name, Object value, Arguments arguments) {
    if (WITH_ARGUMENT.contains(name)) {
      return against(
          name, value, Arguments.required(name, "other", arguments.bind(name, "other")[0]));
    }
    arguments.bind(name);
    return switch (name) {
      case "defined" -> !(value instanceof Value.Undefined);
      case "undefined" -> value instanceof Value.Undefined;
      case "none" -> value == Value.None.NONE;
      case "string" -> Values.string(value) != null;
      case "number" -> Values.real(value) != null;
      case "integer" -> value instanceof BigInteger;
      case "float" -> value instanceof Double;
      case "boolean" -> value instanceof Boolean;
      case "true" -> value.equals(true);
      case "false" -> value.equals(false);
      case "mapping" -> value instanceof Map<?, ?>;
      case "iterable" -> isIterable(value);
      case "sequence" ->
          isIterable(value)
              && !(value instanceof Value.View)
              && !(value instanceof Value.Generator)
              && !(value instanceof Value.Loop);
      case "callable" ->
          value instanceof Value.Function
              || value instanceof Value.Loop
              || value instanceof Value.Undefined;
      case "filter" -> Values.string(value) instanceof String text && Filters.isKnown(text);
      case "test" -> Values.string(value) instanceof String text && isKnown(text);
      case "odd" -> rest(name, value, BigInteger.TWO).equals(BigInteger.ONE);
      case "even" -> rest(name, value, BigInteger.TWO).signum() == 0;
      case "lower" -> StringMethods.cased(Printing.str(value), false);
      case "upper" -> StringMethods.cased(Printing.str(value), true);
      default -> throw unknown(name);
    };
  }

  private static boolean against(String name, Object value, Object other) {
    return switch (name) {
      case "eq", "equalto", "==" -> Values.equal(value, other);
      case "ne", "!=" -> !Values.equal(value, other);
      case "lt", "lessthan", "<" -> Values.compare(value, other, "<") < 0;
      case "gt", "greaterthan", ">" -> Values.compare(value, other, ">") > 0;
      case "le", "<=" -> Values.compare(value, other, "<=") <= 0;
      case "ge", ">=" -> Values.compare(value, other, ">=") >= 0;
      case "in" -> Values.contains(other, value);
      case "sameas" -> isSame(value, other);
      case "divisibleby" -> {
        BigInteger divisor = Values.integer(other);
        if (divisor == null || divisor.signum() == 0) {
          throw new TemplateException("divisibleby: '" + Values.type(other) + "' (expected: int)");
        }
        yield rest(name, value, divisor).signum() == 0;
      }
      default -> throw unknown(name);
    };
  }

  private static boolean isSame(Object value, Object other) {
    return value instanceof Boolean || other instanceof Boolean
        ? value.equals(other)
        : value == other || (value instanceof String && value.equals(other));
  }

  private static boolean isIterable(Object value) {
    return Values.string(value) != null
        || value instanceof List<?>
        || value instanceof Map<?, ?>
        || value instanceof Value.Tuple
        || value instanceof Value.View
        || value instanceof Value.Generator
        || value instanceof Value.Loop
        || value instanceof Value.Undefined;
  }

  private static BigInteger rest(String name, Object value, BigInteger divisor) {
    @Nullable BigInteger number = Values.integer(value);
    if (number == null) {
      Values.refuseUndefined(value);
      throw new TemplateException(name + ": '" + Values.type(value) + "' (expected: int)");
    }
    return number.mod(divisor.abs());
  }

  private static TemplateException unknown(String name) {
    return new TemplateException("unknown test '" + name + "'");
  }
}
