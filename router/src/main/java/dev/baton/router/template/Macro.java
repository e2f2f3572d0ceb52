package dev.baton.router.template;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A macro, or the body of a call block. Its body sees the variables of the place where it was
 * defined.
 *
 * @param usesCaller whether the body reads {@code caller}, so that a call block can call it
 */
record Macro(String name, List<Parameter> parameters, List<Statement> body, boolean usesCaller) {

  static final String CALLER = "caller";

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
    if (arguments.positional().size() > parameters.size()) {
      throw new TemplateException(
          "macro '"
              + name
              + "': "
              + arguments.positional().size()
              + " arguments (expected: at most "
              + parameters.size()
              + ")");
    }
    for (String given : arguments.named().keySet()) {
      boolean known = parameters.stream().anyMatch(parameter -> parameter.name().equals(given));
      if (!known && !(usesCaller && given.equals(CALLER))) {
        throw new TemplateException("macro '" + name + "': unknown argument '" + given + "'");
      }
    }
    if (usesCaller) {
      Object caller = arguments.named().get(CALLER);
      scope.set(CALLER, caller != null ? caller : new Value.Undefined("'caller'"));
    }
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
