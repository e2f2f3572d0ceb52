package dev.baton.router.template;

import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Variables as a part of the template sees them. What a loop's body, a macro or a captured block
 * sets is gone after it; if has no scope of its own.
 */
final class Scope {

  private final @Nullable Scope outer;
  private final Map<String, Object> variables = new HashMap<>();

  Scope(@Nullable Scope outer) {
    this.outer = outer;
  }

  Object get(String name) {
    for (Scope scope = this; scope != null; scope = scope.outer) {
      Object value = scope.variables.get(name);
      if (value != null) {
        return value;
      }
    }
    return new Value.Undefined("'" + name + "'");
  }

  void set(String name, Object value) {
    variables.put(name, value);
  }
}
