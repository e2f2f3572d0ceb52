package dev.baton.router.template;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A statement of a template: writes to the run, sets variables. Immutable. */
sealed interface Statement {

  /** How a statement ended: as usual, or leaving the loop around it. */
  enum Flow {
    ON,
    BREAK,
    CONTINUE
  }

  /** From 1. */
  int line();

  Flow run(Run run, Scope scope);

  /** Runs the statements in order; an error gets the line of the innermost one. */
  static Flow runAll(List<Statement> statements, Run run, Scope scope) {
    for (Statement statement : statements) {
      Flow flow;
      try {
        flow = statement.run(run, scope);
      } catch (TemplateException e) {
        throw e.at(statement.line());
      }
      if (flow != Flow.ON) {
        return flow;
      }
    }
    return Flow.ON;
  }

  record Literal(String text, int line) implements Statement {
    @Override
    public Flow run(Run run, Scope scope) {
      run.write(text);
      return Flow.ON;
    }
  }

  record Output(Expression expression, int line) implements Statement {
    @Override
    public Flow run(Run run, Scope scope) {
      run.write(Printing.str(expression.value(run, scope)));
      return Flow.ON;
    }
  }

  record Assign(Target target, Expression expression, int line) implements Statement {
    @Override
    public Flow run(Run run, Scope scope) {
      target.assign(scope, expression.value(run, scope));
      return Flow.ON;
    }
  }

  /** A block whose text goes through filters, and then to a variable or, without one, out. */
  record Capture(@Nullable Target target, Expression filtered, List<Statement> body, int line)
      implements Statement {
    @Override
    public Flow run(Run run, Scope scope) {
      Scope inner = new Scope(scope);
      String text = run.capture(() -> runAll(body, run, inner));
      inner.set(Expression.Captured.NAME, text);
      Object value = filtered.value(run, inner);
      if (target == null) {
        run.write(Printing.str(value));
      } else {
        target.assign(scope, value);
      }
      return Flow.ON;
    }
  }

  record Branch(Expression condition, List<Statement> body) {}

  record If(List<Branch> branches, List<Statement> otherwise, int line) implements Statement {
    @Override
    public Flow run(Run run, Scope scope) {
      for (Branch branch : branches) {
        if (Values.truth(branch.condition().value(run, scope))) {
          return runAll(branch.body(), run, scope);
        }
      }
      return runAll(otherwise, run, scope);
    }
  }

  record For(
      Target target,
      Expression iterable,
      @Nullable Expression condition,
      List<Statement> body,
      List<Statement> otherwise,
      boolean recursive,
      int line)
      implements Statement {

    /** What the body calls its loop. */
    static final String LOOP = "loop";

    @Override
    public Flow run(Run run, Scope scope) {
      return walk(run, scope, iterable.value(run, scope), 1);
    }

    /** The loop's call of itself with other items, whose text is the call's value. */
    private Value.Function again(Scope scope, int depth) {
      return (run, arguments) -> {
        Object items = Arguments.required(LOOP, "iterable", arguments.bind(LOOP, "iterable")[0]);
        run.enterCall();
        try {
          return run.capture(() -> walk(run, scope, items, depth));
        } finally {
          run.leaveCall();
        }
      };
    }

    private Flow walk(Run run, Scope scope, Object items, int depth) {
      Value.Function again = recursive ? again(scope, depth + 1) : null;
      Value.Loop loop = new Value.Loop(chosen(run, scope, items), depth, again);
      for (loop.index = 0; loop.index < loop.items.size(); loop.index++) {
        run.iterate();
        Scope inner = new Scope(scope);
        inner.set(LOOP, loop);
        target.assign(inner, loop.items.get(loop.index));
        if (runAll(body, run, inner) == Flow.BREAK) {
          break;
        }
      }
      if (loop.items.isEmpty()) {
        return runAll(otherwise, run, new Scope(scope));
      }
      return Flow.ON;
    }

    private List<Object> chosen(Run run, Scope scope, Object all) {
      List<Object> items = Values.items(all);
      if (condition == null) {
        return items;
      }
      List<Object> chosen = new ArrayList<>();
      for (Object item : items) {
        run.iterate();
        Scope inner = new Scope(scope);
        target.assign(inner, item);
        if (Values.truth(condition.value(run, inner))) {
          chosen.add(item);
        }
      }
      return chosen;
    }
  }

  record Jump(Flow flow, int line) implements Statement {
    @Override
    public Flow run(Run run, Scope scope) {
      return flow;
    }
  }

  record Define(Macro macro, int line) implements Statement {
    @Override
    public Flow run(Run run, Scope scope) {
      scope.set(macro.name(), macro.in(scope));
      return Flow.ON;
    }
  }

  /** Calls a macro and hands it the block's body as {@code caller}. */
  record CallBlock(Macro body, Expression.Call call, int line) implements Statement {
    @Override
    public Flow run(Run run, Scope scope) {
      Value.Function function = call.function(run, scope);
      Arguments given = call.arguments().values(run, scope);
      Map<String, Object> named = new LinkedHashMap<>(given.named());
      named.put(Macro.CALLER, body.in(scope));
      run.write(Printing.str(function.call(run, new Arguments(given.positional(), named))));
      return Flow.ON;
    }
  }

  /** Variables for a part of the template; their values see none of them. */
  record With(List<Assign> assignments, List<Statement> body, int line) implements Statement {
    @Override
    public Flow run(Run run, Scope scope) {
      Scope inner = new Scope(scope);
      for (Assign assignment : assignments) {
        assignment.target().assign(inner, assignment.expression().value(run, scope));
      }
      return runAll(body, run, inner);
    }
  }

  /** Marks what an assistant wrote, for training; rendering only gives it a scope. */
  record Generation(List<Statement> body, int line) implements Statement {
    @Override
    public Flow run(Run run, Scope scope) {
      return runAll(body, run, new Scope(scope));
    }
  }
}
