package dev.baton.router.template;

import java.math.BigInteger;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What a template can ask the variable {@code loop}. */
final class LoopAttributes {

  /** Those that are called. */
  static final Set<String> FUNCTIONS = Set.of("cycle", "changed");

  private LoopAttributes() {}

  static @Nullable Object get(Value.Loop loop, String name) {
    int size = loop.items.size();
    int index = loop.index;
    return switch (name) {
      case "index" -> number(index + 1);
      case "index0" -> number(index);
      case "revindex" -> number(size - index);
      case "revindex0" -> number(size - index - 1);
      case "first" -> index == 0;
      case "last" -> index == size - 1;
      case "length" -> number(size);
      case "depth" -> number(loop.depth);
      case "depth0" -> number(loop.depth - 1);
      case "previtem" -> index > 0 ? loop.items.get(index - 1) : null;
      case "nextitem" -> index < size - 1 ? loop.items.get(index + 1) : null;
      case "cycle" -> (Value.Function) (run, arguments) -> cycle(loop, arguments);
      case "changed" -> (Value.Function) (run, arguments) -> changed(loop, arguments);
      default -> null;
    };
  }

  private static Object number(int value) {
    return BigInteger.valueOf(value);
  }

  private static Object cycle(Value.Loop loop, Arguments arguments) {
    if (arguments.positional().isEmpty()) {
      throw new TemplateException("loop.cycle: no items for cycling given");
    }
    return arguments.positional().get(loop.index % arguments.positional().size());
  }

  private static Object changed(Value.Loop loop, Arguments arguments) {
    Value.Tuple now = new Value.Tuple(arguments.positional());
    boolean changed = loop.lastChanged == null || !Values.equal(loop.lastChanged, now);
    loop.lastChanged = now;
    return changed;
  }
}
