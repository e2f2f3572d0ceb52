package dev.baton.router.template;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** Values as text, as Python's str() and repr() give it. */
final class Printing {

  /** Nothing deeper can come in from JSON; a list cannot hold itself, for it cannot be changed. */
  private static final int MAX_DEPTH = 500;

  private Printing() {}

  static String str(Object value) {
    return switch (value) {
      case String text -> text;
      case Value.Markup markup -> markup.text();
      case Value.Undefined undefined -> "";
      default -> repr(value);
    };
  }

  static String repr(Object value) {
    StringBuilder text = new StringBuilder();
    write(value, text, 0);
    return text.toString();
  }

  private static void write(Object value, StringBuilder out, int depth) {
    if (depth > MAX_DEPTH) {
      throw new TemplateException("value: nested deeper than " + MAX_DEPTH);
    }
    switch (value) {
      case String text -> quote(text, out);
      case Value.Markup markup -> {
        out.append("Markup(");
        quote(markup.text(), out);
        out.append(')');
      }
      case Boolean flag -> out.append(flag ? "True" : "False");
      case BigInteger number -> out.append(integer(number));
      case Double number -> out.append(real(number));
      case Value.None none -> out.append("None");
      case Value.Undefined undefined -> out.append("Undefined");
      case List<?> list -> {
        out.append('[');
        join(list, out, depth);
        out.append(']');
      }
      case Value.Tuple tuple -> {
        out.append('(');
        join(tuple.items(), out, depth);
        out.append(tuple.items().size() == 1 ? ",)" : ")");
      }
      case Value.View view -> {
        out.append(view.kind()).append("([");
        join(view.items(), out, depth);
        out.append("])");
      }
      case Map<?, ?> map -> map(map, out, depth);
      case Value.Namespace namespace -> {
        out.append("<Namespace ");
        map(namespace.attributes, out, depth);
        out.append('>');
      }
      // Python prints an address here, which no template can mean.
      default -> throw new TemplateException("'" + Values.type(value) + "' cannot be printed");
    }
  }

  private static void join(List<?> items, StringBuilder out, int depth) {
    String separator = "";
    for (Object item : items) {
      out.append(separator);
      write(Objects.requireNonNull(item), out, depth + 1);
      separator = ", ";
    }
  }

  private static void map(Map<?, ?> map, StringBuilder out, int depth) {
    out.append('{');
    String separator = "";
    for (Map.Entry<?, ?> entry : map.entrySet()) {
      out.append(separator);
      write(Objects.requireNonNull(entry.getKey()), out, depth + 1);
      out.append(": ");
      write(Objects.requireNonNull(entry.getValue()), out, depth + 1);
      separator = ", ";
    }
    out.append('}');
  }

  /** Python, too, refuses to print very long numbers. */
  static String integer(BigInteger number) {
    if (number.bitLength() > 14_000) {
      throw new TemplateException("int: too long to print");
    }
    return number.toString();
  }

  /** The shortest digits that give the number back, in Python's notation. */
  static String real(double number) {
    if (Double.isNaN(number)) {
      return "nan";
    }
    if (Double.isInfinite(number)) {
      return number > 0 ? "inf" : "-inf";
    }
    if (number == 0) {
      return 1 / number < 0 ? "-0.0" : "0.0";
    }
    BigDecimal decimal = new BigDecimal(Double.toString(number)).stripTrailingZeros();
    String digits = decimal.unscaledValue().abs().toString();
    int exponent = digits.length() - 1 - decimal.scale();
    String sign = number < 0 ? "-" : "";
    if (exponent < -4 || exponent >= 16) {
      String fraction = digits.length() > 1 ? "." + digits.substring(1) : "";
      String size = (Math.abs(exponent) < 10 ? "0" : "") + Math.abs(exponent);
      return sign + digits.charAt(0) + fraction + "e" + (exponent < 0 ? "-" : "+") + size;
    }
    String plain = decimal.abs().toPlainString();
    return sign + plain + (plain.contains(".") ? "" : ".0");
  }

  private static void quote(String text, StringBuilder out) {
    char quote = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
    out.append(quote);
    text.codePoints()
        .forEach(
            c -> {
              if (c == quote || c == '\\') {
                out.append('\\').append((char) c);
              } else if (c == '\n') {
                out.append("\\n");
              } else if (c == '\r') {
                out.append("\\r");
              } else if (c == '\t') {
                out.append("\\t");
              } else if (c == ' ' || isPrintable(c)) {
                out.appendCodePoint(c);
              } else if (c <= 0xFF) {
                out.append(String.format("\\x%02x", c));
              } else if (c <= 0xFFFF) {
                out.append(String.format("\\u%04x", c));
              } else {
                out.append(String.format("\\U%08x", c));
              }
            });
    out.append(quote);
  }

  private static boolean isPrintable(int c) {
    return switch (Character.getType(c)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.SURROGATE,
          Character.PRIVATE_USE,
          Character.UNASSIGNED,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR,
          Character.SPACE_SEPARATOR ->
          false;
      default -> true;
    };
  }
}
