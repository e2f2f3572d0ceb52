package dev.baton.router.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** The filters of lists, dicts and what else can be walked. */
final class SequenceFilters {

  private SequenceFilters() {}

  static Map<String, Filters.Filter> all() {
    Map<String, Filters.Filter> all = new TreeMap<>();
    all.put("length", (run, value, arguments) -> BigInteger.valueOf(Values.length(value)));
    all.put("count", (run, value, arguments) -> BigInteger.valueOf(Values.length(value)));
    all.put("list", (run, value, arguments) -> new ArrayList<>(Values.items(value)));
    all.put("first", (run, value, arguments) -> first(value));
    all.put("last", (run, value, arguments) -> last(value));
    all.put("join", (run, value, arguments) -> join(value, arguments));
    all.put("items", (run, value, arguments) -> items(value));
    all.put("dictsort", (run, value, arguments) -> dictSort(value, arguments));
    all.put("sort", (run, value, arguments) -> sort(value, arguments));
    all.put("unique", (run, value, arguments) -> unique(value, arguments));
    all.put("reverse", (run, value, arguments) -> reverse(value));
    all.put("min", (run, value, arguments) -> extreme("min", value, arguments));
    all.put("max", (run, value, arguments) -> extreme("max", value, arguments));
    all.put("sum", (run, value, arguments) -> sum(value, arguments));
    all.put("map", SequenceFilters::map);
    all.put("select", (run, value, arguments) -> select(value, arguments, false, true));
    all.put("reject", (run, value, arguments) -> select(value, arguments, false, false));
    all.put("selectattr", (run, value, arguments) -> select(value, arguments, true, true));
    all.put("rejectattr", (run, value, arguments) -> select(value, arguments, true, false));
    return all;
  }

  private static Object first(Object value) {
    List<Object> items = Values.items(value);
    return items.isEmpty() ? new Value.Undefined("first item of an empty list") : items.getFirst();
  }

  private static Object last(Object value) {
    if (value instanceof Value.Generator) {
      throw new TemplateException("last: 'generator' cannot be reversed");
    }
    List<Object> items = Values.items(value);
    return items.isEmpty() ? new Value.Undefined("last item of an empty list") : items.getLast();
  }

  private static Object join(Object value, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("join", "d", "attribute");
    UnaryOperator<Object> attribute = attribute(bound[1]);
    List<String> parts =
        Values.items(value).stream().map(item -> Printing.str(attribute.apply(item))).toList();
    return StringMethods.join(bound[0] == null ? "" : Printing.str(bound[0]), parts);
  }

  private static Object items(Object value) {
    if (value instanceof Map<?, ?> map) {
      return new Value.Generator(Methods.pairs(map));
    }
    if (value instanceof Value.Undefined) {
      return new Value.Generator(List.of());
    }
    throw new TemplateException("items: '" + Values.type(value) + "' (expected: mapping)");
  }

  private static Object dictSort(Object value, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("dictsort", "case_sensitive", "by", "reverse");
    String by = bound[1] == null ? "key" : Arguments.text("dictsort", "by", bound[1]);
    if (!(value instanceof Map<?, ?> map) || !List.of("key", "value").contains(by)) {
      Values.refuseUndefined(value);
      throw new TemplateException(
          "dictsort: '"
              + Values.type(value)
              + "' by "
              + by
              + " (expected: mapping by key or value)");
    }
    int part = by.equals("key") ? 0 : 1;
    List<Object> pairs = Methods.pairs(map);
    boolean sensitive = Arguments.flag(bound[0]);
    pairs.sort(
        order(pair -> ((Value.Tuple) pair).items().get(part), sensitive, Arguments.flag(bound[2])));
    return pairs;
  }

  private static Object sort(Object value, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("sort", "reverse", "case_sensitive", "attribute");
    List<Object> sorted = new ArrayList<>(Values.items(value));
    sorted.sort(order(attribute(bound[2]), Arguments.flag(bound[1]), Arguments.flag(bound[0])));
    return sorted;
  }

  /** Stable both ways, as Python's sort is: reversed, equals keep their order. */
  private static Comparator<Object> order(
      UnaryOperator<Object> key, boolean sensitive, boolean reverse) {
    Comparator<Object> order =
        (a, b) ->
            Values.compare(cased(key.apply(a), sensitive), cased(key.apply(b), sensitive), "<");
    return reverse ? order.reversed() : order;
  }

  private static Object cased(Object value, boolean sensitive) {
    return !sensitive && Values.string(value) instanceof String text
        ? text.toLowerCase(Locale.ROOT)
        : value;
  }

  private static Object unique(Object value, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("unique", "case_sensitive", "attribute");
    UnaryOperator<Object> attribute = attribute(bound[1]);
    List<Object> seen = new ArrayList<>();
    List<Object> kept = new ArrayList<>();
    for (Object item : Values.items(value)) {
      Object key = cased(attribute.apply(item), Arguments.flag(bound[0]));
      if (seen.stream().noneMatch(other -> Values.equal(other, key))) {
        seen.add(key);
        kept.add(item);
      }
    }
    return new Value.Generator(kept);
  }

  private static Object reverse(Object value) {
    if (Values.string(value) instanceof String text) {
      return new StringBuilder(text).reverse().toString();
    }
    return new Value.Generator(new ArrayList<>(Values.items(value)).reversed());
  }

  private static Object extreme(String name, Object value, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind(name, "case_sensitive", "attribute");
    List<Object> items = Values.items(value);
    if (items.isEmpty()) {
      return new Value.Undefined(name + " of an empty list");
    }
    Comparator<Object> order =
        order(attribute(bound[1]), Arguments.flag(bound[0]), name.equals("max"));
    Object best = items.getFirst();
    for (Object item : items) {
      best = order.compare(item, best) < 0 ? item : best;
    }
    return best;
  }

  private static Object sum(Object value, Arguments arguments) {
    @Nullable Object[] bound = arguments.bind("sum", "attribute", "start");
    UnaryOperator<Object> attribute = attribute(bound[0]);
    Object sum = Objects.requireNonNullElse(bound[1], BigInteger.ZERO);
    for (Object item : Values.items(value)) {
      sum = Arithmetic.apply("+", sum, attribute.apply(item));
    }
    return sum;
  }

  private static Object map(Run run, Object value, Arguments arguments) {
    UnaryOperator<Object> function;
    if (arguments.positional().isEmpty() && arguments.named().containsKey("attribute")) {
      @Nullable Object[] bound = arguments.bind("map", "attribute", "default");
      UnaryOperator<Object> attribute = attribute(bound[0]);
      Object fallback = bound[1];
      function =
          item -> {
            Object found = attribute.apply(item);
            return fallback != null && found instanceof Value.Undefined ? fallback : found;
          };
    } else {
      String name = name("map", arguments);
      Arguments rest = rest(arguments, 1);
      function = item -> Filters.apply(run, name, item, rest);
    }
    List<Object> mapped = new ArrayList<>();
    for (Object item : itemsIfTrue(value)) {
      mapped.add(function.apply(item));
    }
    return new Value.Generator(mapped);
  }

  private static Object select(
      Object value, Arguments arguments, boolean byAttribute, boolean keep) {
    UnaryOperator<Object> attribute = UnaryOperator.identity();
    Arguments left = arguments;
    if (byAttribute) {
      if (arguments.positional().isEmpty()) {
        throw new TemplateException("selectattr: missing argument 'attribute'");
      }
      attribute = attribute(arguments.positional().getFirst());
      left = rest(arguments, 1);
    }
    boolean plain = left.positional().isEmpty();
    String test = plain ? "" : name("select", left);
    Arguments testArguments = plain ? left : rest(left, 1);
    List<Object> kept = new ArrayList<>();
    for (Object item : itemsIfTrue(value)) {
      Object tested = attribute.apply(item);
      if ((plain ? Values.truth(tested) : Tests.test(test, tested, testArguments)) == keep) {
        kept.add(item);
      }
    }
    return new Value.Generator(kept);
  }

  /** jinja2's map and select take anything false, even None, for an empty list. */
  private static List<Object> itemsIfTrue(Object value) {
    return Values.truth(value) ? Values.items(value) : List.of();
  }

  private static String name(String filter, Arguments arguments) {
    return Arguments.text(
        filter,
        "name",
        arguments.positional().isEmpty() ? null : arguments.positional().getFirst());
  }

  private static Arguments rest(Arguments arguments, int from) {
    List<Object> positional = arguments.positional();
    return new Arguments(positional.subList(from, positional.size()), arguments.named());
  }

  /** Follows a dotted path of items; the identity when there is none. */
  private static UnaryOperator<Object> attribute(@Nullable Object path) {
    if (path == null || path == Value.None.NONE) {
      return UnaryOperator.identity();
    }
    String text = Values.string(path);
    if (text == null) {
      return item -> Access.item(item, path);
    }
    String[] names = text.split("\\.", -1);
    return item -> {
      Object value = item;
      for (String name : names) {
        boolean index = !name.isEmpty() && name.chars().allMatch(c -> c >= '0' && c <= '9');
        value = Access.item(value, index ? new BigInteger(name) : name);
      }
      return value;
    };
  }
}
