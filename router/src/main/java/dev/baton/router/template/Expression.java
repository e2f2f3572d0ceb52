package dev.baton.router.template;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** An expression of a template; knows how to give its value. Immutable. */
sealed interface Expression {

  Object value(Run run, Scope scope);

  record Constant(Object value) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      return value;
    }
  }

  record Variable(String name) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      return scope.get(name);
    }
  }

  record ListOf(List<Expression> items) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      return all(items, run, scope);
    }
  }

  record TupleOf(List<Expression> items) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      return new Value.Tuple(all(items, run, scope));
    }
  }

  record Entry(Expression key, Expression value) {}

  record DictOf(List<Entry> entries) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      Map<Object, Object> dict = new LinkedHashMap<>();
      for (Entry entry : entries) {
        Object key = Values.key(entry.key().value(run, scope));
        dict.put(key, entry.value().value(run, scope));
      }
      return dict;
    }
  }

  record Attribute(Expression target, String name) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      return Access.attribute(target.value(run, scope), name);
    }
  }

  record Item(Expression target, Expression key) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      return Access.item(target.value(run, scope), key.value(run, scope));
    }
  }

  record Slice(Expression target, Expression start, Expression stop, Expression step)
      implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      return Access.slice(
          target.value(run, scope),
          start.value(run, scope),
          stop.value(run, scope),
          step.value(run, scope));
    }
  }

  record Not(Expression operand) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      return !Values.truth(operand.value(run, scope));
    }
  }

  record Negative(Expression operand, boolean negate) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      Object negated = Arithmetic.negate(operand.value(run, scope));
      return negate ? negated : Arithmetic.negate(negated);
    }
  }

  record Binary(String operator, Expression left, Expression right) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      return Arithmetic.apply(operator, left.value(run, scope), right.value(run, scope));
    }
  }

  /** The operator {@code ~}: operands as text, joined; unlike {@code +}, marked text or not. */
  record Concatenation(List<Expression> parts) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      StringBuilder joined = new StringBuilder();
      for (Object part : all(parts, run, scope)) {
        String text = Printing.str(part);
        Run.checkLength((long) joined.length() + text.length());
        joined.append(text);
      }
      return joined.toString();
    }
  }

  /** The first operand or the second, as in Python. */
  record Either(boolean and, Expression left, Expression right) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      Object first = left.value(run, scope);
      return Values.truth(first) == and ? right.value(run, scope) : first;
    }
  }

  record Comparison(String operator, Expression operand) {}

  /** One or more comparisons in a chain, all of which must hold. */
  record Compare(Expression first, List<Comparison> rest) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      Object left = first.value(run, scope);
      for (Comparison comparison : rest) {
        Object right = comparison.operand().value(run, scope);
        if (!holds(comparison.operator(), left, right)) {
          return false;
        }
        left = right;
      }
      return true;
    }

    private static boolean holds(String operator, Object left, Object right) {
      return switch (operator) {
        case "==" -> Values.equal(left, right);
        case "!=" -> !Values.equal(left, right);
        case "<" -> Values.compare(left, right, operator) < 0;
        case "<=" -> Values.compare(left, right, operator) <= 0;
        case ">" -> Values.compare(left, right, operator) > 0;
        case ">=" -> Values.compare(left, right, operator) >= 0;
        case "in" -> Values.contains(right, left);
        case "not in" -> !Values.contains(right, left);
        default -> throw new IllegalStateException(operator);
      };
    }
  }

  record Conditional(Expression condition, Expression then, @Nullable Expression otherwise)
      implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      if (Values.truth(condition.value(run, scope))) {
        return then.value(run, scope);
      }
      return otherwise == null
          ? new Value.Undefined("the inline if without else")
          : otherwise.value(run, scope);
    }
  }

  /** What is written between the parentheses of a call. */
  record ArgumentList(List<Expression> positional, Map<String, Expression> named) {
    static final ArgumentList NONE = new ArgumentList(List.of(), Map.of());

    Arguments values(Run run, Scope scope) {
      if (positional.isEmpty() && named.isEmpty()) {
        return Arguments.NONE;
      }
      Map<String, Object> values = new LinkedHashMap<>();
      List<Object> first = all(positional, run, scope);
      named.forEach((name, argument) -> values.put(name, argument.value(run, scope)));
      return new Arguments(first, values);
    }
  }

  record Call(Expression function, ArgumentList arguments) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      return function(run, scope).call(run, arguments.values(run, scope));
    }

    Value.Function function(Run run, Scope scope) {
      Object callee = function.value(run, scope);
      Values.refuseUndefined(callee);
      if (callee instanceof Value.Function callable) {
        return callable;
      }
      if (callee instanceof Value.Loop loop && loop.again != null) {
        return loop.again;
      }
      throw new TemplateException("'" + Values.type(callee) + "' cannot be called");
    }
  }

  record Filter(Expression operand, String name, ArgumentList arguments) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      Object value = operand.value(run, scope);
      return Filters.apply(run, name, value, arguments.values(run, scope));
    }
  }

  record Test(Expression operand, String name, ArgumentList arguments) implements Expression {
    @Override
    public Object value(Run run, Scope scope) {
      Object value = operand.value(run, scope);
      return Tests.test(name, value, arguments.values(run, scope));
    }
  }

  /** The text of a captured block, for the filters on its tag. */
  record Captured() implements Expression {
    static final String NAME = "\0captured";

    @Override
    public Object value(Run run, Scope scope) {
      return scope.get(NAME);
    }
  }

  private static List<Object> all(List<Expression> expressions, Run run, Scope scope) {
    List<Object> values = new ArrayList<>(expressions.size());
    for (Expression expression : expressions) {
      values.add(expression.value(run, scope));
    }
    return values;
  }
}
