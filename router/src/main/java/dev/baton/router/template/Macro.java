package dev.baton.router.template;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A macro, or the body of a call block. Its body sees the variables of the place where it was
 * defined.
 *
 * @param reads names that the body reads: a call block can call one that reads {@code caller}, and
 *     one that reads {@code varargs} or {@code kwargs} takes arguments beyond its parameters
 */
record Macro(String name, List<Parameter> parameters, List<Statement> body, Set<String> reads) {

  static final String CALLER = "caller";
  private static final String MORE_POSITIONAL = "varargs";
  private static final String MORE_NAMED = "kwargs";

  /** A parameter and its default, which is evaluated at each call. */
  record Parameter(String name, @Nullable Expression fallback) {}

  Value.Function in(Scope definition) {
    return (run, arguments) -> call(run, definition, arguments);
  }

  private Object call(Run run, Scope definition, Arguments arguments) {
    Scope scope = new Scope(definition);
    bind(run, scope, arguments);
    run.enterCall();
    try {
      return run.capture(() -> Statement.runAll(body, run, scope));
    } finally {
      run.leaveCall();
    }
  }

  private void bind(Run run, Scope scope, Arguments arguments) {
    bindMore(scope, arguments);
    if (reads.contains(CALLER)) {
      Object caller = arguments.named().get(CALLER);
      scope.set(CALLER, caller != null ? caller : new Value.Undefined("'caller'"));
    }
    bindParameters(run, scope, arguments);
  }

  /** What is given beyond the parameters, to a macro that asks for it. */
  private void bindMore(Scope scope, Arguments arguments) {
    int given = arguments.positional().size();
    int own = Math.min(given, parameters.size());
    if (reads.contains(MORE_POSITIONAL)) {
      scope.set(MORE_POSITIONAL, new Value.Tuple(arguments.positional().subList(own, given)));
    } else if (given > own) {
      throw new TemplateException(
          "macro '"
              + name
              + "': "
              + arguments.positional().size()
              + " arguments (expected: at most "
              + parameters.size()
              + ")");
    }
    Map<Object, Object> more = new LinkedHashMap<>();
    arguments
        .named()
        .forEach(
            (key, value) -> {
              boolean known =
                  parameters.stream().anyMatch(parameter -> parameter.name().equals(key));
              if (!known && !(reads.contains(CALLER) && key.equals(CALLER))) {
                more.put(key, value);
              }
            });
    if (reads.contains(MORE_NAMED)) {
      scope.set(MORE_NAMED, more);
    } else if (!more.isEmpty()) {
      throw new TemplateException(
          "macro '" + name + "': unknown argument '" + more.keySet().iterator().next() + "'");
    }
  }

  private void bindParameters(Run run, Scope scope, Arguments arguments) {
    for (int i = 0; i < parameters.size(); i++) {
      Parameter parameter = parameters.get(i);
      Object value = arguments.named().get(parameter.name());
      if (i < arguments.positional().size()) {
        if (value != null) {
          throw new TemplateException(
              "macro '" + name + "': argument '" + parameter.name() + "' given twice");
        }
        value = arguments.positional().get(i);
      }
      if (value == null && parameter.fallback() != null) {
        value = parameter.fallback().value(run, scope);
      }
      scope.set(
          parameter.name(),
          value != null
              ? value
              : new Value.Undefined("parameter '" + parameter.name() + "' of '" + name + "'"));
    }
  }
}
