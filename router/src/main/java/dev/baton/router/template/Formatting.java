package dev.baton.router.template;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Python's {@code format % values} for strings: conversions s, r, d, i, x, o, c and f. */
final class Formatting {

  private static final int MAX_WIDTH = 10_000;

  private static final Pattern CONVERSION =
      Pattern.compile(
          "%(?:\\(([^)]*)\\))?([-+ 0#]*)(\\d{0,6})(?:\\.(\\d{0,6}))?(.)", Pattern.DOTALL);

  private Formatting() {}

  static String format(String format, Object values) {
    List<Object> arguments = values instanceof Value.Tuple tuple ? tuple.items() : List.of(values);
    Matcher conversion = CONVERSION.matcher(format);
    StringBuilder text = new StringBuilder();
    int used = 0;
    int end = 0;
    boolean named = false;
    while (conversion.find(end)) {
      text.append(format, end, conversion.start());
      end = conversion.end();
      if (conversion.group(5).equals("%")) {
        text.append('%');
        continue;
      }
      Object value;
      if (conversion.group(1) != null) {
        named = true;
        value = named(values, conversion.group(1));
      } else if (used < arguments.size()) {
        value = arguments.get(used++);
      } else {
        throw new TemplateException("%: too few values for the format");
      }
      Run.checkLength(text.length());
      text.append(pad(conversion, convert(conversion, value)));
    }
    if (format.indexOf('%', end) >= 0) {
      throw new TemplateException("%: incomplete format");
    }
    text.append(format, end, format.length());
    if (!named && used < arguments.size() && !(values instanceof Map<?, ?>)) {
      throw new TemplateException("%: more values than the format has");
    }
    return text.toString();
  }

  private static Object named(Object values, String name) {
    Object value = values instanceof Map<?, ?> map ? map.get(name) : null;
    if (value == null) {
      throw new TemplateException("%: no value named '" + name + "'");
    }
    return value;
  }

  private static String convert(Matcher conversion, Object value) {
    String precision = conversion.group(4);
    char kind = conversion.group(5).charAt(0);
    return switch (kind) {
      case 's' -> cut(Printing.str(value), precision);
      case 'r' -> cut(Printing.repr(value), precision);
      case 'd', 'i', 'u' -> signed(conversion, Printing.integer(whole(value, kind)));
      case 'x' -> signed(conversion, whole(value, kind).toString(16));
      case 'o' -> signed(conversion, whole(value, kind).toString(8));
      case 'f' -> signed(conversion, fixed(value, precision));
      case 'c' -> {
        String text = Values.string(value);
        yield text != null ? text : Character.toString(whole(value, kind).intValue() & 0xFFFF);
      }
      default -> throw new TemplateException("%: unsupported conversion '%" + kind + "'");
    };
  }

  private static String cut(String text, @Nullable String precision) {
    if (precision == null) {
      return text;
    }
    int wanted = precision.isEmpty() ? 0 : Integer.parseInt(precision);
    return wanted >= Text.length(text)
        ? text
        : text.substring(0, text.offsetByCodePoints(0, wanted));
  }

  private static BigInteger whole(Object value, char kind) {
    if (value instanceof Double number && !number.isNaN() && !number.isInfinite()) {
      return new BigDecimal(number).toBigInteger();
    }
    BigInteger number = Values.integer(value);
    if (number == null) {
      throw new TemplateException("%" + kind + ": '" + Values.type(value) + "' (expected: number)");
    }
    return number;
  }

  private static String fixed(Object value, @Nullable String precision) {
    Double number = Values.real(value);
    if (number == null) {
      throw new TemplateException("%f: '" + Values.type(value) + "' (expected: number)");
    }
    if (number.isNaN() || number.isInfinite()) {
      return Printing.real(number);
    }
    int digits = precision == null ? 6 : precision.isEmpty() ? 0 : Integer.parseInt(precision);
    String sign = 1 / number < 0 || number < 0 ? "-" : "";
    return sign
        + new BigDecimal(Math.abs(number))
            .setScale(Math.min(digits, MAX_WIDTH), RoundingMode.HALF_EVEN)
            .toPlainString();
  }

  private static String signed(Matcher conversion, String number) {
    String flags = conversion.group(2);
    if (number.startsWith("-")) {
      return number;
    }
    return flags.contains("+") ? "+" + number : flags.contains(" ") ? " " + number : number;
  }

  private static String pad(Matcher conversion, String text) {
    int width = conversion.group(3).isEmpty() ? 0 : Integer.parseInt(conversion.group(3));
    if (width > MAX_WIDTH) {
      throw new TemplateException("%: width: " + width + " (expected: at most " + MAX_WIDTH + ")");
    }
    String fill = " ".repeat(Math.max(0, width - Text.length(text)));
    String flags = conversion.group(2);
    if (flags.contains("-")) {
      return text + fill;
    }
    boolean number = "diuxof".contains(conversion.group(5));
    if (flags.contains("0") && number) {
      int sign = !text.isEmpty() && "+- ".indexOf(text.charAt(0)) >= 0 ? 1 : 0;
      return text.substring(0, sign) + fill.replace(' ', '0') + text.substring(sign);
    }
    return fill + text;
  }
}
