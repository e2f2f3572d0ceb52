package dev.baton.router.template;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Python's {@code str.format}: fields by number or name, with items and attributes, {@code !r} and
 * {@code !s}, and the specifications of strings, whole numbers and fixed-point numbers. A
 * specification with fields of its own is refused.
 */
final class BraceFormat {

  private static final int MAX_WIDTH = 10_000;

  private static final Pattern FIELD =
      Pattern.compile("([^.\\[!:{}]*)((?:\\.[^.\\[!:{}]+|\\[[^\\]]+])*)(?:!([rs]))?(?::([^{}]*))?");
  private static final Pattern STEP = Pattern.compile("\\.([^.\\[]+)|\\[([^\\]]+)]");
  private static final Pattern SPECIFICATION =
      Pattern.compile(
          "(?:(.)?([<>=^]))?([-+ ])?(0)?(\\d{0,6})([,_])?(?:\\.(\\d{1,6}))?([sdxXobfFeE%])?",
          Pattern.DOTALL);

  private final Arguments arguments;
  private int automatic;

  private BraceFormat(Arguments arguments) {
    this.arguments = arguments;
  }

  static String format(String format, Arguments arguments) {
    return new BraceFormat(arguments).all(format);
  }

  private String all(String format) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < format.length(); i++) {
      char c = format.charAt(i);
      boolean twice = i + 1 < format.length() && format.charAt(i + 1) == c;
      if ((c != '{' && c != '}') || twice) {
        text.append(c);
        i += c == '{' || c == '}' ? 1 : 0;
        continue;
      }
      int end = c == '{' ? format.indexOf('}', i) : -1;
      if (end < 0) {
        throw new TemplateException("format: single '" + c + "' in the format");
      }
      text.append(field(format.substring(i + 1, end)));
      Run.checkLength(text.length());
      i = end;
    }
    return text.toString();
  }

  private String field(String field) {
    Matcher parts = FIELD.matcher(field);
    if (!parts.matches()) {
      throw new TemplateException("format: unsupported field '" + field + "'");
    }
    Object value = argument(parts.group(1));
    Matcher step = STEP.matcher(parts.group(2));
    while (step.find()) {
      value =
          step.group(1) != null
              ? Access.attribute(value, step.group(1))
              : Access.item(value, key(step.group(2)));
    }
    String specification = parts.group(4) == null ? "" : parts.group(4);
    if (parts.group(3) != null) {
      value = parts.group(3).equals("r") ? Printing.repr(value) : Printing.str(value);
    }
    return specification.isEmpty() ? Printing.str(value) : specified(value, specification);
  }

  private Object argument(String name) {
    Object found;
    if (name.isEmpty() || isNumber(name)) {
      int index = name.isEmpty() ? automatic++ : Integer.parseInt(name);
      found = index < arguments.positional().size() ? arguments.positional().get(index) : null;
    } else {
      found = arguments.named().get(name);
    }
    if (found == null) {
      throw new TemplateException("format: no argument '" + name + "'");
    }
    return found;
  }

  private static Object key(String text) {
    return isNumber(text) ? new BigInteger(text) : text;
  }

  private static boolean isNumber(String text) {
    return text.length() <= 6
        && !text.isEmpty()
        && text.chars().allMatch(c -> c >= '0' && c <= '9');
  }

  private static String specified(Object value, String specification) {
    Matcher parts = SPECIFICATION.matcher(specification);
    if (!parts.matches()) {
      throw new TemplateException("format: unsupported specification '" + specification + "'");
    }
    String digits = parts.group(7);
    String kind = parts.group(8) == null ? "" : parts.group(8);
    boolean zeros = parts.group(4) != null;
    String text = Values.string(value);
    if (text != null) {
      if (!(kind.isEmpty() || kind.equals("s")) || parts.group(3) != null) {
        throw unsuited(specification, value);
      }
      boolean cut = digits != null && Integer.parseInt(digits) < Text.length(text);
      String kept =
          cut ? text.substring(0, text.offsetByCodePoints(0, Integer.parseInt(digits))) : text;
      return aligned(parts, "", kept, '<', zeros);
    }
    String number = number(value, kind, digits, specification);
    boolean negative = number.startsWith("-");
    String sign =
        negative ? "-" : parts.group(3) == null || parts.group(3).equals("-") ? "" : parts.group(3);
    String plain = negative ? number.substring(1) : number;
    return aligned(parts, sign, grouped(plain, parts.group(6)), zeros ? '=' : '>', zeros);
  }

  private static String number(
      Object value, String kind, @Nullable String digits, String specification) {
    BigInteger whole = Values.integer(value);
    Double real = Values.real(value);
    if (real == null || kind.equals("s")) {
      throw unsuited(specification, value);
    }
    if (whole != null && "dxXob".contains(kind)) {
      if (digits != null) {
        throw unsuited(specification, value);
      }
      return switch (kind) {
        case "x" -> whole.toString(16);
        case "X" -> whole.toString(16).toUpperCase(Locale.ROOT);
        case "o" -> whole.toString(8);
        case "b" -> whole.toString(2);
        default -> Printing.integer(whole);
      };
    }
    if (real.isNaN() || real.isInfinite() || (kind.isEmpty() && digits == null)) {
      return Printing.real(real);
    }
    int places = digits == null ? 6 : Math.min(Integer.parseInt(digits), MAX_WIDTH);
    return switch (kind) {
      case "f", "F" -> fixed(new BigDecimal(real), places);
      case "%" -> fixed(new BigDecimal(real * 100), places) + "%";
      default -> throw unsuited(specification, value);
    };
  }

  private static String fixed(BigDecimal number, int places) {
    return number.setScale(places, RoundingMode.HALF_EVEN).toPlainString();
  }

  private static String grouped(String number, @Nullable String mark) {
    if (mark == null) {
      return number;
    }
    int end = 0;
    while (end < number.length() && Character.isDigit(number.charAt(end))) {
      end++;
    }
    StringBuilder text = new StringBuilder(number);
    for (int at = end - 3; at > 0; at -= 3) {
      text.insert(at, mark);
    }
    return text.toString();
  }

  private static String aligned(
      Matcher parts, String sign, String text, char usual, boolean zeros) {
    int width = parts.group(5).isEmpty() ? 0 : Integer.parseInt(parts.group(5));
    if (width > MAX_WIDTH) {
      throw new TemplateException("format: width: " + width + " (expected: <= " + MAX_WIDTH + ")");
    }
    char side = parts.group(2) == null ? usual : parts.group(2).charAt(0);
    String filler = parts.group(1) != null ? parts.group(1) : zeros ? "0" : " ";
    int missing = Math.max(0, width - Text.length(sign + text));
    return switch (side) {
      case '<' -> sign + text + filler.repeat(missing);
      case '>' -> filler.repeat(missing) + sign + text;
      case '^' -> filler.repeat(missing / 2) + sign + text + filler.repeat(missing - missing / 2);
      default -> sign + filler.repeat(missing) + text;
    };
  }

  private static TemplateException unsuited(String specification, Object value) {
    return new TemplateException(
        "format: '" + specification + "' of a '" + Values.type(value) + "' is unsupported");
  }
}
