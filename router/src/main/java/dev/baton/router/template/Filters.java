package dev.baton.router.template;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** What can stand after {@code |}: here the filters of single values. */
final class Filters {

  /** A filter. */
  interface Filter {
    Object apply(Run run, Object value, Arguments arguments);
  }

  private static final Pattern WORD_BEGINNING =
      Pattern.compile("(?<=[-\\s({\\[<])(?![-\\s({\\[<])");
  private static final Map<String, Filter> FILTERS = new TreeMap<>();

  static {
    FILTERS.put("default", (run, value, arguments) -> orDefault(value, arguments));
    FILTERS.put("d", (run, value, arguments) -> orDefault(value, arguments));
    FILTERS.put("string", (run, value, arguments) -> string(value));
    FILTERS.put("safe", (run, value, arguments) -> new Value.Markup(Printing.str(value)));
    FILTERS.put("escape", (run, value, arguments) -> escape(value));
    FILTERS.put("e", (run, value, arguments) -> escape(value));
    FILTERS.put("tojson", (run, value, arguments) -> toJson(value, arguments));
    FILTERS.put("trim", (run, value, arguments) -> trim(value, arguments));
    FILTERS.put(
        "upper", (run, value, arguments) -> plain(value, arguments).toUpperCase(Locale.ROOT));
    FILTERS.put(
        "lower", (run, value, arguments) -> plain(value, arguments).toLowerCase(Locale.ROOT));
    FILTERS.put(
        "capitalize", (run, value, arguments) -> StringMethods.capitalize(plain(value, arguments)));
    FILTERS.put("title", (run, value, arguments) -> title(plain(value, arguments)));
    FILTERS.put("replace", (run, value, arguments) -> replace(value, arguments));
    FILTERS.put("indent", (run, value, arguments) -> indent(value, arguments));
    FILTERS.put("format", (run, value, arguments) -> format(value, arguments));
    FILTERS.put("int", (run, value, arguments) -> toInt(value, arguments));
    FILTERS.put("float", (run, value, arguments) -> toFloat(value, arguments));
    FILTERS.put("abs", (run, value, arguments) -> abs(value));
    FILTERS.put("round", (run, value, arguments) -> round(value, arguments));
    FILTERS.putAll(SequenceFilters.all());
  }

  private Filters() {}

  static boolean isKnown(String name) {
    return FILTERS.containsKey(name);
  }

  static Object apply(Run run, String name, Object value, Arguments arguments) {
    Filter filter = FILTERS.get(name);
    if (filter == null) {
      throw new TemplateException("unknown filter '" + name + "'");
    }
    return filter.apply(run, value, arguments);
  }

  private static String plain(Object value, Arguments arguments) {
    arguments.bind("filter");
    return Printing.str(value);
  }

  private static Object orDefault(Object value, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("default", "default_value", "boolean");
    boolean replaced =
        value instanceof Value.Undefined || (Arguments.flag(bound[1]) && !Values.truth(value));
    return replaced ? Objects.requireNonNullElse(bound[0], "") : value;
  }

  private static Object string(Object value) {
    return value instanceof Value.Markup ? value : Printing.str(value);
  }

  private static Object escape(Object value) {
    return value instanceof Value.Markup
        ? value
        : new Value.Markup(Text.escapeHtml(Printing.str(value)));
  }

  private static Object toJson(Object value, Arguments arguments) {
    @Nullable Object[] bound =
        arguments.bind("tojson", "ensure_ascii", "indent", "separators", "sort_keys");
    Object wanted = bound[1];
    String indent = null;
    if (wanted != null && wanted != Value.None.NONE) {
      String text = Values.string(wanted);
      indent =
          text != null ? text : spaces("tojson", Arguments.integer("tojson", "indent", wanted, 0));
    }
    String itemSeparator = indent == null ? ", " : ",";
    String keySeparator = ": ";
    if (bound[2] != null && bound[2] != Value.None.NONE) {
      var separators = Values.items(bound[2]);
      if (separators.size() != 2) {
        throw new TemplateException("tojson: separators: " + separators.size() + " (expected: 2)");
      }
      itemSeparator = Arguments.text("tojson", "separators", separators.get(0));
      keySeparator = Arguments.text("tojson", "separators", separators.get(1));
    }
    return new Json(
            indent, itemSeparator, keySeparator, Arguments.flag(bound[3]), Arguments.flag(bound[0]))
        .write(value);
  }

  private static String spaces(String filter, int count) {
    if (count > 1000) {
      throw new TemplateException(filter + ": indent: " + count + " (expected: at most 1000)");
    }
    return " ".repeat(Math.max(0, count));
  }

  private static Object trim(Object value, Arguments arguments) {
    Object set = arguments.bind("trim", "chars")[0];
    String characters =
        set == null || set == Value.None.NONE ? null : Arguments.text("trim", "chars", set);
    return StringMethods.strip(Printing.str(value), characters, true, true);
  }

  private static Object title(String text) {
    StringBuilder titled = new StringBuilder();
    for (String word : WORD_BEGINNING.split(text)) {
      titled.append(word.isEmpty() ? word : StringMethods.capitalize(word));
    }
    return titled.toString();
  }

  private static Object replace(Object value, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("replace", "old", "new", "count");
    return StringMethods.replace(
        Printing.str(value),
        Printing.str(Arguments.required("replace", "old", bound[0])),
        Printing.str(Arguments.required("replace", "new", bound[1])),
        Arguments.integer("replace", "count", bound[2], -1));
  }

  private static Object indent(Object value, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("indent", "width", "first", "blank");
    String width =
        bound[0] != null && Values.string(bound[0]) instanceof String text
            ? text
            : spaces("indent", Arguments.integer("indent", "width", bound[0], 4));
    boolean blank = Arguments.flag(bound[2]);
    var lines = StringMethods.lines(Printing.str(value) + "\n");
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < lines.size(); i++) {
      String line = (String) lines.get(i);
      if (i > 0) {
        text.append('\n');
      }
      if (i == 0 ? Arguments.flag(bound[1]) : blank || !line.isEmpty()) {
        text.append(width);
      }
      Run.checkLength((long) text.length() + line.length());
      text.append(line);
    }
    return text.toString();
  }

  private static Object format(Object value, Arguments arguments) {
    if (!arguments.named().isEmpty()) {
      if (!arguments.positional().isEmpty()) {
        throw new TemplateException("format: positional and named arguments at once");
      }
      return Formatting.format(Printing.str(value), new TreeMap<Object, Object>(arguments.named()));
    }
    return Formatting.format(Printing.str(value), new Value.Tuple(arguments.positional()));
  }

  private static Object toInt(Object value, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("int", "default", "base");
    Values.refuseUndefined(value);
    Object fallback = Objects.requireNonNullElse(bound[0], BigInteger.ZERO);
    if (Values.integer(value) instanceof BigInteger number) {
      return number;
    }
    String text = value instanceof Double number ? Double.toString(number) : Values.string(value);
    if (text == null) {
      return fallback;
    }
    String digits = Text.strip(text).replace("_", "");
    try {
      return new BigInteger(digits, Arguments.integer("int", "base", bound[1], 10));
    } catch (NumberFormatException notWhole) {
      Double number = parse(digits);
      return number == null || number.isInfinite() || number.isNaN()
          ? fallback
          : new BigDecimal(number).toBigInteger();
    }
  }

  private static Object toFloat(Object value, Arguments arguments) {
    Object fallback = arguments.bind("float", "default")[0];
    Values.refuseUndefined(value);
    Double number = Values.real(value);
    if (number == null && Values.string(value) instanceof String text) {
      number = parse(Text.strip(text).replace("_", ""));
    }
    return number != null ? number : Objects.requireNonNullElse(fallback, 0.0);
  }

  private static final Pattern FLOAT =
      Pattern.compile("[+-]?(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d+)?");

  /** Narrower than Double.parseDouble, which takes Java's suffixes. */
  private static @Nullable Double parse(String text) {
    return FLOAT.matcher(text).matches() ? (Double) Double.parseDouble(text) : null;
  }

  private static Object abs(Object value) {
    Values.refuseUndefined(value);
    if (Values.integer(value) instanceof BigInteger number) {
      return number.abs();
    }
    if (value instanceof Double number) {
      return Math.abs(number);
    }
    throw new TemplateException("abs: '" + Values.type(value) + "' (expected: number)");
  }

  private static Object round(Object value, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("round", "precision", "method");
    int digits = Math.clamp(Arguments.integer("round", "precision", bound[0], 0), -400, 400);
    String method = bound[1] == null ? "common" : Arguments.text("round", "method", bound[1]);
    RoundingMode mode =
        switch (method) {
          case "common" -> RoundingMode.HALF_EVEN;
          case "ceil" -> RoundingMode.CEILING;
          case "floor" -> RoundingMode.FLOOR;
          default ->
              throw new TemplateException(
                  "round: method: " + method + " (expected: common, ceil or floor)");
        };
    Values.refuseUndefined(value);
    Double number = Values.real(value);
    if (number == null) {
      throw new TemplateException("round: '" + Values.type(value) + "' (expected: number)");
    }
    boolean whole = Values.integer(value) != null;
    if ((whole && digits >= 0 && method.equals("common"))
        || number.isInfinite()
        || number.isNaN()) {
      return value;
    }
    return new BigDecimal(number).setScale(digits, mode).doubleValue();
  }
}
