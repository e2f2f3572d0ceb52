package dev.baton.router.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** Methods of Python's str. */
final class StringMethods {

  /** A method of a string. */
  private interface Method {
    Object call(String text, Arguments arguments);
  }

  private static final Map<String, Method> METHODS = new TreeMap<>();

  static {
    METHODS.put("strip", (text, arguments) -> strip("strip", text, arguments, true, true));
    METHODS.put("lstrip", (text, arguments) -> strip("lstrip", text, arguments, true, false));
    METHODS.put("rstrip", (text, arguments) -> strip("rstrip", text, arguments, false, true));
    METHODS.put("startswith", (text, arguments) -> matches("startswith", text, arguments));
    METHODS.put("endswith", (text, arguments) -> matches("endswith", text, arguments));
    METHODS.put("removeprefix", StringMethods::removePrefix);
    METHODS.put("removesuffix", StringMethods::removeSuffix);
    METHODS.put("split", StringMethods::split);
    METHODS.put("rsplit", StringMethods::rsplit);
    METHODS.put("splitlines", StringMethods::splitLines);
    METHODS.put("partition", (text, arguments) -> StringShapes.partition(text, arguments, false));
    METHODS.put("rpartition", (text, arguments) -> StringShapes.partition(text, arguments, true));
    METHODS.put("ljust", (text, arguments) -> StringShapes.padded("ljust", text, arguments));
    METHODS.put("rjust", (text, arguments) -> StringShapes.padded("rjust", text, arguments));
    METHODS.put("center", (text, arguments) -> StringShapes.padded("center", text, arguments));
    METHODS.put("zfill", StringShapes::zeroFilled);
    METHODS.put("format", BraceFormat::format);
    METHODS.put("join", StringMethods::join);
    METHODS.put("replace", StringMethods::replace);
    METHODS.put("find", (text, arguments) -> find("find", text, arguments));
    METHODS.put("rfind", (text, arguments) -> find("rfind", text, arguments));
    METHODS.put("index", (text, arguments) -> find("index", text, arguments));
    METHODS.put("rindex", (text, arguments) -> find("rindex", text, arguments));
    METHODS.put("count", (text, arguments) -> find("count", text, arguments));
    METHODS.put(
        "upper", (text, arguments) -> plain("upper", text, arguments).toUpperCase(Locale.ROOT));
    METHODS.put(
        "lower", (text, arguments) -> plain("lower", text, arguments).toLowerCase(Locale.ROOT));
    METHODS.put("title", (text, arguments) -> title(plain("title", text, arguments)));
    METHODS.put(
        "capitalize", (text, arguments) -> capitalize(plain("capitalize", text, arguments)));
    METHODS.put("isdigit", (text, arguments) -> all(text, arguments, Character::isDigit));
    METHODS.put("isdecimal", (text, arguments) -> all(text, arguments, Character::isDigit));
    METHODS.put("isnumeric", (text, arguments) -> all(text, arguments, StringMethods::isNumber));
    METHODS.put("isascii", (text, arguments) -> isAscii(plain("isascii", text, arguments)));
    METHODS.put("isalpha", (text, arguments) -> all(text, arguments, Character::isLetter));
    METHODS.put("isalnum", (text, arguments) -> all(text, arguments, Character::isLetterOrDigit));
    METHODS.put("isspace", (text, arguments) -> all(text, arguments, Text::isSpace));
    METHODS.put("isupper", (text, arguments) -> cased(plain("isupper", text, arguments), true));
    METHODS.put("islower", (text, arguments) -> cased(plain("islower", text, arguments), false));
  }

  private StringMethods() {}

  static boolean isKnown(String name) {
    return METHODS.containsKey(name);
  }

  static Value.Function of(String text, String name) {
    Method method = METHODS.get(name);
    if (method == null) {
      throw new IllegalArgumentException(name);
    }
    return (run, arguments) -> method.call(text, arguments);
  }

  private static String plain(String name, String text, Arguments arguments) {
    arguments.bind(name);
    return text;
  }

  private static Object strip(
      String name, String text, Arguments arguments, boolean left, boolean right) {
    Object set = arguments.bind(name, "chars")[0];
    return strip(
        text,
        set == null || set == Value.None.NONE ? null : Arguments.text(name, "chars", set),
        left,
        right);
  }

  /** Takes characters of the set, or white space, off the ends. */
  static String strip(String text, @Nullable String set, boolean left, boolean right) {
    if (set == null) {
      String kept = left ? Text.stripStart(text) : text;
      return right ? Text.stripEnd(kept) : kept;
    }
    int start = 0;
    int end = text.length();
    while (left && start < end && set.indexOf(text.codePointAt(start)) >= 0) {
      start += Character.charCount(text.codePointAt(start));
    }
    while (right && end > start && set.indexOf(text.codePointBefore(end)) >= 0) {
      end -= Character.charCount(text.codePointBefore(end));
    }
    return text.substring(start, end);
  }

  private static Object matches(String name, String text, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind(name, "prefix", "start", "end");
    Object wanted = Arguments.required(name, "prefix", bound[0]);
    Part within = Part.of(name, text, bound[1], bound[2]);
    List<Object> options = wanted instanceof Value.Tuple tuple ? tuple.items() : List.of(wanted);
    for (Object option : options) {
      String part = Arguments.text(name, "prefix", option);
      if (within != null
          && (name.equals("startswith")
              ? within.text().startsWith(part)
              : within.text().endsWith(part))) {
        return true;
      }
    }
    return false;
  }

  private static Object removePrefix(String text, Arguments arguments) {
    String prefix =
        Arguments.text("removeprefix", "prefix", arguments.bind("removeprefix", "prefix")[0]);
    return text.startsWith(prefix) ? text.substring(prefix.length()) : text;
  }

  private static Object removeSuffix(String text, Arguments arguments) {
    String suffix =
        Arguments.text("removesuffix", "suffix", arguments.bind("removesuffix", "suffix")[0]);
    return text.endsWith(suffix) ? text.substring(0, text.length() - suffix.length()) : text;
  }

  private static Object split(String text, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("split", "sep", "maxsplit");
    int most = Arguments.integer("split", "maxsplit", bound[1], -1);
    List<Object> parts = new ArrayList<>();
    if (bound[0] == null || bound[0] == Value.None.NONE) {
      String rest = Text.stripStart(text);
      while (!rest.isEmpty()) {
        int end = 0;
        while (end < rest.length() && !Text.isSpace(rest.charAt(end))) {
          end++;
        }
        if (most >= 0 && parts.size() == most) {
          parts.add(rest);
          return parts;
        }
        parts.add(rest.substring(0, end));
        rest = Text.stripStart(rest.substring(end));
      }
      return parts;
    }
    String separator = separator("split", bound[0]);
    int from = 0;
    int at;
    while ((at = text.indexOf(separator, from)) >= 0 && (most < 0 || parts.size() < most)) {
      parts.add(text.substring(from, at));
      from = at + separator.length();
    }
    parts.add(text.substring(from));
    return parts;
  }

  private static String separator(String name, Object value) {
    String separator = Arguments.text(name, "sep", value);
    if (separator.isEmpty()) {
      throw new TemplateException(name + ": empty separator");
    }
    return separator;
  }

  private static Object rsplit(String text, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("rsplit", "sep", "maxsplit");
    int most = Arguments.integer("rsplit", "maxsplit", bound[1], -1);
    if (most < 0) {
      return split(text, arguments);
    }
    String separator = separator("rsplit", Arguments.required("rsplit", "sep", bound[0]));
    List<Object> parts = new ArrayList<>();
    String rest = text;
    int at;
    while (parts.size() < most && (at = rest.lastIndexOf(separator)) >= 0) {
      parts.addFirst(rest.substring(at + separator.length()));
      rest = rest.substring(0, at);
    }
    parts.addFirst(rest);
    return parts;
  }

  private static Object splitLines(String text, Arguments arguments) {
    return lines(text, Arguments.flag(arguments.bind("splitlines", "keepends")[0]));
  }

  /** Lines without their ends, as str.splitlines() sees them. */
  static List<Object> lines(String text) {
    return lines(text, false);
  }

  private static List<Object> lines(String text, boolean withEnds) {
    List<Object> lines = new ArrayList<>();
    int start = 0;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      boolean ends =
          (c >= 0x0A && c <= 0x0D)
              || (c >= 0x1C && c <= 0x1E)
              || c == 0x85
              || c == 0x2028
              || c == 0x2029;
      if (ends) {
        int end = i;
        if (c == '\r' && i + 1 < text.length() && text.charAt(i + 1) == '\n') {
          i++;
        }
        lines.add(text.substring(start, withEnds ? i + 1 : end));
        start = i + 1;
      }
    }
    if (start < text.length()) {
      lines.add(text.substring(start));
    }
    return lines;
  }

  private static Object join(String text, Arguments arguments) {
    Object items = Arguments.required("join", "iterable", arguments.bind("join", "iterable")[0]);
    List<String> parts = new ArrayList<>();
    for (Object item : Values.items(items)) {
      parts.add(Arguments.text("join", "item", item));
    }
    return join(text, parts);
  }

  /** The parts with the separator between them, if that is not too long. */
  static String join(String separator, List<String> parts) {
    long length = (long) separator.length() * parts.size();
    for (String part : parts) {
      length += part.length();
    }
    Run.checkLength(length);
    return String.join(separator, parts);
  }

  private static Object replace(String text, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("replace", "old", "new", "count");
    return replace(
        text,
        Arguments.text("replace", "old", bound[0]),
        Arguments.text("replace", "new", bound[1]),
        Arguments.integer("replace", "count", bound[2], -1));
  }

  /**
   * Replaces the first {@code most} places, or all when negative; an empty {@code old} is at each
   * end of each character.
   */
  static String replace(String text, String old, String replacement, int most) {
    StringBuilder replaced = new StringBuilder();
    int from = 0;
    int at = most == 0 ? -1 : text.indexOf(old);
    for (int count = 0; at >= 0 && (most < 0 || count < most); count++) {
      Run.checkLength((long) replaced.length() + replacement.length() + text.length() - from);
      replaced.append(text, from, at).append(replacement);
      from = at + old.length();
      if (!old.isEmpty()) {
        at = text.indexOf(old, from);
      } else {
        at = at < text.length() ? text.offsetByCodePoints(at, 1) : -1;
      }
    }
    return replaced.append(text, from, text.length()).toString();
  }

  private static Object find(String name, String text, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind(name, "sub", "start", "end");
    String part = Arguments.text(name, "sub", bound[0]);
    Part within = Part.of(name, text, bound[1], bound[2]);
    if (name.equals("count")) {
      return BigInteger.valueOf(within == null ? 0 : count(within.text(), part));
    }
    int at = -1;
    if (within != null) {
      at = name.startsWith("r") ? within.text().lastIndexOf(part) : within.text().indexOf(part);
    }
    if (at < 0 && name.endsWith("index")) {
      throw new TemplateException(name + ": substring not found");
    }
    return BigInteger.valueOf(
        within == null || at < 0 ? -1 : within.start() + within.text().codePointCount(0, at));
  }

  private static int count(String text, String part) {
    if (part.isEmpty()) {
      return Text.length(text) + 1;
    }
    int count = 0;
    for (int at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length())) {
      count++;
    }
    return count;
  }

  /** What Python's optional start and end leave of a text; start in code points. */
  private record Part(String text, int start) {

    /** Null where there is nothing, not even an empty text. */
    static @Nullable Part of(
        String method, String text, @Nullable Object start, @Nullable Object end) {
      int length = Text.length(text);
      int from = place(Arguments.integer(method, "start", start, 0), length);
      int to = Math.min(length, place(Arguments.integer(method, "end", end, length), length));
      if (from > to) {
        return null;
      }
      int offset = text.offsetByCodePoints(0, from);
      return new Part(text.substring(offset, text.offsetByCodePoints(offset, to - from)), from);
    }

    private static int place(int index, int length) {
      return index < 0 ? Math.max(0, index + length) : index;
    }
  }

  static String capitalize(String text) {
    if (text.isEmpty()) {
      return text;
    }
    int first = Character.charCount(text.codePointAt(0));
    return upperFirst(text.substring(0, first)) + text.substring(first).toLowerCase(Locale.ROOT);
  }

  private static String upperFirst(String character) {
    return Character.toString(Character.toTitleCase(character.codePointAt(0)));
  }

  private static String title(String text) {
    StringBuilder titled = new StringBuilder();
    boolean inWord = false;
    for (int c : text.codePoints().toArray()) {
      boolean letter = isCased(c);
      titled.appendCodePoint(
          letter ? (inWord ? Character.toLowerCase(c) : Character.toTitleCase(c)) : c);
      inWord = letter;
    }
    return titled.toString();
  }

  private static boolean isCased(int c) {
    return Character.isUpperCase(c) || Character.isLowerCase(c) || Character.isTitleCase(c);
  }

  private static boolean isNumber(int c) {
    int type = Character.getType(c);
    return type == Character.DECIMAL_DIGIT_NUMBER
        || type == Character.LETTER_NUMBER
        || type == Character.OTHER_NUMBER;
  }

  private static boolean isAscii(String text) {
    return text.chars().allMatch(c -> c < 128);
  }

  private static Object all(String text, Arguments arguments, java.util.function.IntPredicate is) {
    arguments.bind("is");
    return !text.isEmpty() && text.codePoints().allMatch(is);
  }

  /** Whether there are cased characters, and all are upper, or lower. */
  static boolean cased(String text, boolean upper) {
    return text.codePoints().anyMatch(StringMethods::isCased)
        && text.codePoints()
            .filter(StringMethods::isCased)
            .allMatch(upper ? Character::isUpperCase : Character::isLowerCase);
  }
}
