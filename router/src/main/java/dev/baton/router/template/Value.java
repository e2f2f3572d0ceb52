package dev.baton.router.template;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The kinds of value that Java has no type for. The others are String, Boolean, BigInteger (int),
 * Double (float), List and Map (dict, in insertion order).
 */
sealed interface Value {

  /** Python's None. */
  enum None implements Value {
    NONE
  }

  /**
   * A missing variable, attribute or item: prints nothing and is false; using it further fails.
   *
   * @param what how messages call it
   */
  record Undefined(String what) implements Value {
    TemplateException error() {
      return new TemplateException(what + " is undefined");
    }
  }

  record Tuple(List<Object> items) implements Value {}

  /** Text marked by the filter {@code safe}; joined with other text, it has that escaped. */
  record Markup(String text) implements Value {}

  /** What dict.keys(), values() and items() give: can be walked and counted, not indexed. */
  record View(String kind, List<Object> items) implements Value {}

  /** What map, select and their kind give: always true, and can be walked once. */
  final class Generator implements Value {
    private List<Object> items;

    Generator(List<Object> items) {
      this.items = items;
    }

    List<Object> drain() {
      List<Object> drained = items;
      items = List.of();
      return drained;
    }
  }

  /** The one thing whose attributes a template can set. */
  final class Namespace implements Value {
    final Map<String, Object> attributes = new LinkedHashMap<>();
  }

  /** The variable {@code loop} in the body of a for. */
  final class Loop implements Value {
    final List<Object> items;

    /** From 1; more in a recursive loop's call of itself. */
    final int depth;

    /** Walks other items with the same body; null when the loop is not recursive. */
    final @Nullable Function again;

    int index;
    @Nullable Object lastChanged;

    Loop(List<Object> items, int depth, @Nullable Function again) {
      this.items = items;
      this.depth = depth;
      this.again = again;
    }
  }

  /** A macro, a global function or a bound method. */
  non-sealed interface Function extends Value {
    Object call(Run run, Arguments arguments);
  }
}
