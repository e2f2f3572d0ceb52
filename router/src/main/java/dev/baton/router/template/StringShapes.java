package dev.baton.router.template;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** Methods of Python's str that pad a text or cut it in three. */
final class StringShapes {

  private StringShapes() {}

  static Object partition(String text, Arguments arguments, boolean last) {
    String name = last ? "rpartition" : "partition";
    String separator = Arguments.text(name, "sep", arguments.bind(name, "sep")[0]);
    if (separator.isEmpty()) {
      throw new TemplateException(name + ": empty separator");
    }
    int at = last ? text.lastIndexOf(separator) : text.indexOf(separator);
    if (at < 0) {
      return new Value.Tuple(last ? List.of("", "", text) : List.of(text, "", ""));
    }
    return new Value.Tuple(
        List.of(text.substring(0, at), separator, text.substring(at + separator.length())));
  }

  /** {@code ljust}, {@code rjust} and {@code center}. */
  static Object padded(String name, String text, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind(name, "width", "fillchar");
    int width = Arguments.integer(name, "width", Arguments.required(name, "width", bound[0]), 0);
    String filler = bound[1] == null ? " " : Arguments.text(name, "fillchar", bound[1]);
    if (Text.length(filler) != 1) {
      throw new TemplateException(name + ": fillchar: '" + filler + "' (expected: one character)");
    }
    int missing = missing(text, width);
    int left =
        switch (name) {
          case "ljust" -> 0;
          case "rjust" -> missing;
          // As in CPython, which gives the odd one to the left when the width is odd.
          default -> missing / 2 + (missing & width & 1);
        };
    return filler.repeat(left) + text + filler.repeat(missing - left);
  }

  static Object zeroFilled(String text, Arguments arguments) {
    Object width = Arguments.required("zfill", "width", arguments.bind("zfill", "width")[0]);
    int missing = missing(text, Arguments.integer("zfill", "width", width, 0));
    int sign = text.startsWith("+") || text.startsWith("-") ? 1 : 0;
    return text.substring(0, sign) + "0".repeat(missing) + text.substring(sign);
  }

  private static int missing(String text, int width) {
    Run.checkLength(width);
    return Math.max(0, width - Text.length(text));
  }
}
