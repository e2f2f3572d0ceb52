package dev.baton.router.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Attributes, items and slices, with jinja2's fallbacks from one to the other. */
final class Access {

  private Access() {}

  /** {@code target.name}: a method first, then an item. */
  static Object attribute(Object target, String name) {
    Values.refuseUndefined(target);
    Object method = Methods.of(target, name);
    if (method != null) {
      return method;
    }
    Object found =
        switch (target) {
          case Map<?, ?> map -> map.get(name);
          case Value.Namespace namespace -> namespace.attributes.get(name);
          case Value.Loop loop -> LoopAttributes.get(loop, name);
          default -> null;
        };
    return found != null ? found : missing(target, name);
  }

  /** {@code target[key]}: an item first, then an attribute of that name. */
  static Object item(Object target, Object key) {
    Values.refuseUndefined(target);
    if (target instanceof Map<?, ?> map
        && !(key instanceof List<?>)
        && !(key instanceof Map<?, ?>)) {
      Object found = map.get(Values.key(key));
      if (found != null) {
        return found;
      }
    }
    BigInteger index = Values.integer(key);
    if (index != null) {
      Object found = at(target, index);
      return found != null ? found : missing(target, index.toString());
    }
    String name = Values.string(key);
    if (name != null) {
      return target instanceof Map<?, ?> && Methods.of(target, name) == null
          ? missing(target, name)
          : attribute(target, name);
    }
    return missing(target, Values.type(key));
  }

  private static @Nullable Object at(Object target, BigInteger index) {
    List<Object> items;
    switch (target) {
      case List<?> list -> items = Values.items(list);
      case Value.Tuple tuple -> items = tuple.items();
      case String text -> items = Values.items(text);
      case Value.Markup markup -> items = Values.items(markup);
      default -> {
        return null;
      }
    }
    BigInteger place = index.signum() < 0 ? index.add(BigInteger.valueOf(items.size())) : index;
    boolean inside =
        place.signum() >= 0 && place.bitLength() < 32 && place.intValue() < items.size();
    return inside ? items.get(place.intValue()) : null;
  }

  private static Value.Undefined missing(Object target, String what) {
    return new Value.Undefined("'" + what + "' of a " + Values.type(target));
  }

  /** {@code target[start:stop:step]} of a str, list or tuple; undefined for anything else. */
  static Object slice(Object target, Object start, Object stop, Object step) {
    Values.refuseUndefined(target);
    return switch (target) {
      case List<?> list -> picked(Values.items(list), start, stop, step);
      case Value.Tuple tuple -> new Value.Tuple(picked(tuple.items(), start, stop, step));
      case String text -> joined(picked(Values.items(text), start, stop, step));
      case Value.Markup markup ->
          new Value.Markup(joined(picked(Values.items(markup), start, stop, step)));
      default -> missing(target, "slice");
    };
  }

  private static String joined(List<Object> characters) {
    StringBuilder text = new StringBuilder();
    characters.forEach(text::append);
    return text.toString();
  }

  private static List<Object> picked(List<Object> items, Object start, Object stop, Object step) {
    int size = items.size();
    int stride = clamp(step, 1, Integer.MIN_VALUE + 1);
    if (stride == 0) {
      throw new TemplateException("slice: step: 0 (expected: not 0)");
    }
    boolean forward = stride > 0;
    int low = forward ? 0 : -1;
    int high = forward ? size : size - 1;
    int from = bound(start, size, low, high, forward ? low : high);
    int to = bound(stop, size, low, high, forward ? high : low);
    List<Object> picked = new ArrayList<>();
    for (long i = from; forward ? i < to : i > to; i += stride) {
      picked.add(items.get((int) i));
    }
    return picked;
  }

  private static int bound(Object value, int size, int low, int high, int fallback) {
    if (value == Value.None.NONE) {
      return fallback;
    }
    long place = clamp(value, 0, Integer.MIN_VALUE);
    return (int) Math.clamp(place < 0 ? place + size : place, low, high);
  }

  private static int clamp(Object value, int fallback, int lowest) {
    if (value == Value.None.NONE) {
      return fallback;
    }
    BigInteger number = Values.integer(value);
    if (number == null) {
      Values.refuseUndefined(value);
      throw new TemplateException("slice: '" + Values.type(value) + "' (expected: int)");
    }
    if (number.bitLength() > 31) {
      return number.signum() < 0 ? lowest : Integer.MAX_VALUE;
    }
    return Math.max(lowest, number.intValue());
  }
}
