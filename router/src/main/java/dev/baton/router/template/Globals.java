package dev.baton.router.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The functions that every chat template has. */
final class Globals {

  /** As in jinja2's sandbox. */
  private static final int MAX_RANGE = 100_000;

  static final Map<String, Value.Function> ALL =
      Map.of(
          "range", (run, arguments) -> range(arguments),
          "dict", (run, arguments) -> dict("dict", arguments),
          "namespace", (run, arguments) -> namespace(arguments),
          "raise_exception", (run, arguments) -> raise(arguments),
          "strftime_now", (run, arguments) -> now(run, arguments));

  private Globals() {}

  private static Object range(Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("range", "start", "stop", "step");
    Arguments.required("range", "stop", bound[0]);
    int first = Arguments.integer("range", "start", bound[0], 0);
    int start = bound[1] == null ? 0 : first;
    int stop = bound[1] == null ? first : Arguments.integer("range", "stop", bound[1], 0);
    int step = Arguments.integer("range", "step", bound[2], 1);
    if (step == 0) {
      throw new TemplateException("range: step: 0 (expected: not 0)");
    }
    List<Object> numbers = new ArrayList<>();
    for (long i = start; step > 0 ? i < stop : i > stop; i += step) {
      if (numbers.size() == MAX_RANGE) {
        throw new TemplateException("range: more than " + MAX_RANGE + " numbers");
      }
      numbers.add(BigInteger.valueOf(i));
    }
    return numbers;
  }

  private static Map<Object, Object> dict(String function, Arguments arguments) {
    Map<Object, Object> dict = new LinkedHashMap<>();
    if (arguments.positional().size() > 1) {
      throw new TemplateException(function + ": more than one argument");
    }
    for (Object source : arguments.positional()) {
      if (source instanceof Map<?, ?> map) {
        Methods.pairs(map).forEach(pair -> put(function, dict, pair));
      } else {
        Values.items(source).forEach(pair -> put(function, dict, pair));
      }
    }
    dict.putAll(arguments.named());
    return dict;
  }

  private static void put(String function, Map<Object, Object> dict, Object pair) {
    List<Object> items = Values.items(pair);
    if (items.size() != 2) {
      throw new TemplateException(function + ": " + items.size() + " items (expected: pairs)");
    }
    dict.put(Values.key(items.get(0)), items.get(1));
  }

  private static Object namespace(Arguments arguments) {
    Value.Namespace namespace = new Value.Namespace();
    dict("namespace", arguments)
        .forEach((name, value) -> namespace.attributes.put(Printing.str(name), value));
    return namespace;
  }

  private static Object raise(Arguments arguments) {
    Object message =
        Arguments.required(
            "raise_exception", "message", arguments.bind("raise_exception", "message")[0]);
    throw new TemplateException(Printing.str(message));
  }

  private static Object now(Run run, Arguments arguments) {
    Object format = arguments.bind("strftime_now", "format")[0];
    return Dates.format(Arguments.text("strftime_now", "format", format), run.now);
  }
}
