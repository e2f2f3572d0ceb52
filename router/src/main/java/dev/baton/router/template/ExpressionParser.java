package dev.baton.router.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Parses expressions, by jinja2's grammar and precedence. Filters, tests and methods that nobody
 * knows fail here, with their line.
 */
final class ExpressionParser {

  /** A call by name, to be checked when all names that the template sets are known. */
  record NamedCall(String name, int line) {}

  private static final List<String> COMPARISONS = List.of("==", "!=", "<", "<=", ">", ">=");
  private static final Set<String> FILTERS_BY_TEST = Set.of("select", "reject");
  private static final Set<String> FILTERS_BY_ATTRIBUTE = Set.of("selectattr", "rejectattr");

  private final TokenReader tokens;
  final List<NamedCall> calls = new ArrayList<>();

  /** Names read so far; emptied by whoever wants to know what a part reads. */
  Set<String> namesRead = new HashSet<>();

  ExpressionParser(TokenReader tokens) {
    this.tokens = tokens;
  }

  /** An expression, or several with commas between them, which make a tuple. */
  Expression tuple(boolean withConditional) {
    Expression first = withConditional ? expression() : or();
    if (!tokens.isOperator(",")) {
      return first;
    }
    List<Expression> items = new ArrayList<>(List.of(first));
    while (tokens.skipOperator(",")) {
      if (atTupleEnd()) {
        break;
      }
      items.add(withConditional ? expression() : or());
    }
    return new Expression.TupleOf(items);
  }

  private boolean atTupleEnd() {
    Token.Kind kind = tokens.current().kind();
    return kind == Token.Kind.VARIABLE_END
        || kind == Token.Kind.BLOCK_END
        || tokens.isOperator(")")
        || tokens.isName("in");
  }

  Expression expression() {
    tokens.enter();
    Expression value = or();
    while (tokens.skipName("if")) {
      Expression condition = or();
      Expression otherwise = tokens.skipName("else") ? expression() : null;
      value = new Expression.Conditional(condition, value, otherwise);
    }
    tokens.leave();
    return value;
  }

  private Expression or() {
    Expression left = and();
    while (tokens.skipName("or")) {
      left = new Expression.Either(false, left, and());
    }
    return left;
  }

  private Expression and() {
    Expression left = not();
    while (tokens.skipName("and")) {
      left = new Expression.Either(true, left, not());
    }
    return left;
  }

  private Expression not() {
    if (!tokens.skipName("not")) {
      return comparison();
    }
    tokens.enter();
    Expression operand = not();
    tokens.leave();
    return new Expression.Not(operand);
  }

  private Expression comparison() {
    Expression first = sum();
    List<Expression.Comparison> rest = new ArrayList<>();
    while (true) {
      if (tokens.isOneOf(COMPARISONS)) {
        rest.add(new Expression.Comparison(tokens.next().text(), sum()));
      } else if (tokens.skipName("in")) {
        rest.add(new Expression.Comparison("in", sum()));
      } else if (tokens.isName("not") && tokens.ahead().is(Token.Kind.NAME, "in")) {
        tokens.next();
        tokens.next();
        rest.add(new Expression.Comparison("not in", sum()));
      } else {
        return rest.isEmpty() ? first : new Expression.Compare(first, rest);
      }
    }
  }

  private Expression sum() {
    Expression left = concatenation();
    while (tokens.isOneOf(List.of("+", "-"))) {
      left = new Expression.Binary(tokens.next().text(), left, concatenation());
    }
    return left;
  }

  private Expression concatenation() {
    Expression first = product();
    if (!tokens.isOperator("~")) {
      return first;
    }
    List<Expression> parts = new ArrayList<>(List.of(first));
    while (tokens.skipOperator("~")) {
      parts.add(product());
    }
    return new Expression.Concatenation(parts);
  }

  private Expression product() {
    Expression left = power();
    while (tokens.isOneOf(List.of("*", "/", "//", "%"))) {
      left = new Expression.Binary(tokens.next().text(), left, power());
    }
    return left;
  }

  private Expression power() {
    Expression left = unary(true);
    while (tokens.skipOperator("**")) {
      left = new Expression.Binary("**", left, unary(true));
    }
    return left;
  }

  private Expression unary(boolean withFilter) {
    Expression operand;
    if (tokens.isOneOf(List.of("-", "+"))) {
      boolean negate = tokens.next().text().equals("-");
      tokens.enter();
      operand = new Expression.Negative(unary(false), negate);
      tokens.leave();
    } else {
      operand = primary();
    }
    operand = postfix(operand);
    return withFilter ? filtered(operand) : operand;
  }

  private Expression primary() {
    Token token = tokens.current();
    switch (token.kind()) {
      case NAME -> {
        tokens.next();
        return named(token);
      }
      case STRING -> {
        StringBuilder text = new StringBuilder();
        while (tokens.current().kind() == Token.Kind.STRING) {
          text.append(tokens.next().text());
        }
        return new Expression.Constant(text.toString());
      }
      case INTEGER -> {
        tokens.next();
        return new Expression.Constant(integer(token));
      }
      case FLOAT -> {
        tokens.next();
        return new Expression.Constant(Double.valueOf(token.text().replace("_", "")));
      }
      default -> {
        return bracketed();
      }
    }
  }

  private Expression named(Token token) {
    return switch (token.text()) {
      case "true", "True" -> new Expression.Constant(true);
      case "false", "False" -> new Expression.Constant(false);
      case "none", "None" -> new Expression.Constant(Value.None.NONE);
      case "in", "is", "if", "else", "and", "or", "not" ->
          throw new TemplateException(
              "unexpected " + token.describe() + " (expected: an expression)", token.line());
      case "self", "super" ->
          throw new TemplateException("unsupported variable '" + token.text() + "'", token.line());
      default -> {
        namesRead.add(token.text());
        yield new Expression.Variable(token.text());
      }
    };
  }

  private static BigInteger integer(Token token) {
    String digits = token.text().replace("_", "").toLowerCase(java.util.Locale.ROOT);
    int base =
        digits.startsWith("0x")
            ? 16
            : digits.startsWith("0o") ? 8 : digits.startsWith("0b") ? 2 : 10;
    String rest = base == 10 ? digits : digits.substring(2);
    if (rest.isEmpty()
        || rest.length() > 1000
        || (base == 10 && rest.length() > 1 && rest.startsWith("0") && !rest.matches("0+"))) {
      throw new TemplateException("bad number '" + token.text() + "'", token.line());
    }
    return new BigInteger(rest, base);
  }

  private Expression bracketed() {
    tokens.enter();
    Expression value;
    if (tokens.skipOperator("(")) {
      if (tokens.skipOperator(")")) {
        value = new Expression.TupleOf(List.of());
      } else {
        value = tuple(true);
        tokens.expectOperator(")");
      }
    } else if (tokens.skipOperator("[")) {
      value = new Expression.ListOf(list());
    } else if (tokens.skipOperator("{")) {
      value = new Expression.DictOf(dict());
    } else {
      throw tokens.unexpected("an expression");
    }
    tokens.leave();
    return value;
  }

  private List<Expression> list() {
    List<Expression> items = new ArrayList<>();
    while (!tokens.skipOperator("]")) {
      if (!items.isEmpty()) {
        tokens.expectOperator(",");
        if (tokens.skipOperator("]")) {
          break;
        }
      }
      items.add(expression());
    }
    return items;
  }

  private List<Expression.Entry> dict() {
    List<Expression.Entry> entries = new ArrayList<>();
    while (!tokens.skipOperator("}")) {
      if (!entries.isEmpty()) {
        tokens.expectOperator(",");
        if (tokens.skipOperator("}")) {
          break;
        }
      }
      Expression key = expression();
      tokens.expectOperator(":");
      entries.add(new Expression.Entry(key, expression()));
    }
    return entries;
  }

  private Expression postfix(Expression operand) {
    Expression value = operand;
    while (true) {
      if (tokens.skipOperator(".")) {
        value = attribute(value);
      } else if (tokens.skipOperator("[")) {
        value = subscript(value);
      } else if (tokens.isOperator("(")) {
        value = call(value);
      } else {
        return value;
      }
    }
  }

  private Expression attribute(Expression target) {
    Token token = tokens.next();
    if (token.kind() == Token.Kind.INTEGER) {
      return new Expression.Item(target, new Expression.Constant(integer(token)));
    }
    if (token.kind() != Token.Kind.NAME) {
      throw new TemplateException(
          "unexpected " + token.describe() + " (expected: a name)", token.line());
    }
    if (tokens.isOperator("(") && !Methods.isKnown(token.text())) {
      throw new TemplateException("unknown method '" + token.text() + "'", token.line());
    }
    return new Expression.Attribute(target, token.text());
  }

  private Expression subscript(Expression target) {
    Expression none = new Expression.Constant(Value.None.NONE);
    Expression start = none;
    if (!tokens.isOperator(":")) {
      start = expression();
      if (tokens.skipOperator("]")) {
        return new Expression.Item(target, start);
      }
    }
    Expression stop = none;
    Expression step = none;
    tokens.expectOperator(":");
    if (!tokens.isOperator(":") && !tokens.isOperator("]")) {
      stop = expression();
    }
    if (tokens.skipOperator(":") && !tokens.isOperator("]")) {
      step = expression();
    }
    tokens.expectOperator("]");
    return new Expression.Slice(target, start, stop, step);
  }

  private Expression.Call call(Expression function) {
    if (function instanceof Expression.Variable variable) {
      calls.add(new NamedCall(variable.name(), tokens.line()));
    }
    return new Expression.Call(function, arguments());
  }

  private Expression.ArgumentList arguments() {
    tokens.expectOperator("(");
    List<Expression> positional = new ArrayList<>();
    Map<String, Expression> named = new LinkedHashMap<>();
    while (!tokens.skipOperator(")")) {
      if (!positional.isEmpty() || !named.isEmpty()) {
        tokens.expectOperator(",");
        if (tokens.skipOperator(")")) {
          break;
        }
      }
      if (tokens.isOperator("*") || tokens.isOperator("**")) {
        throw new TemplateException("unsupported: unpacked arguments", tokens.line());
      }
      if (tokens.current().kind() == Token.Kind.NAME
          && tokens.ahead().is(Token.Kind.OPERATOR, "=")) {
        String name = tokens.name();
        tokens.next();
        if (named.put(name, expression()) != null) {
          throw new TemplateException("argument '" + name + "' given twice", tokens.line());
        }
      } else if (named.isEmpty()) {
        positional.add(expression());
      } else {
        throw tokens.unexpected("a named argument");
      }
    }
    return new Expression.ArgumentList(positional, named);
  }

  private Expression filtered(Expression operand) {
    Expression value = operand;
    while (true) {
      if (tokens.skipOperator("|")) {
        value = filter(value);
      } else if (tokens.skipName("is")) {
        value = test(value);
      } else if (tokens.isOperator("(")) {
        value = call(value);
      } else {
        return value;
      }
    }
  }

  /** The filters on the tag of a captured block. */
  Expression filters(Expression captured) {
    Expression value = captured;
    while (tokens.skipOperator("|")) {
      value = filter(value);
    }
    return value;
  }

  /** A filter, after its bar. */
  Expression filter(Expression operand) {
    int line = tokens.line();
    String name = tokens.name();
    if (!Filters.isKnown(name)) {
      throw new TemplateException("unknown filter '" + name + "'", line);
    }
    Expression.ArgumentList arguments =
        tokens.isOperator("(") ? arguments() : Expression.ArgumentList.NONE;
    checkNames(name, arguments.positional(), line);
    return new Expression.Filter(operand, name, arguments);
  }

  /** Filters that take the name of a filter or test: a name written out is checked now. */
  private static void checkNames(String filter, List<Expression> arguments, int line) {
    int place = FILTERS_BY_ATTRIBUTE.contains(filter) ? 1 : 0;
    boolean byTest = place == 1 || FILTERS_BY_TEST.contains(filter);
    if ((byTest || filter.equals("map"))
        && arguments.size() > place
        && arguments.get(place) instanceof Expression.Constant constant
        && constant.value() instanceof String name
        && !(byTest ? Tests.isKnown(name) : Filters.isKnown(name))) {
      throw new TemplateException(
          "unknown " + (byTest ? "test" : "filter") + " '" + name + "'", line);
    }
  }

  private Expression test(Expression operand) {
    boolean negated = tokens.skipName("not");
    int line = tokens.line();
    String name = tokens.name();
    if (!Tests.isKnown(name)) {
      throw new TemplateException("unknown test '" + name + "'", line);
    }
    Expression.ArgumentList arguments = Expression.ArgumentList.NONE;
    if (tokens.isOperator("(")) {
      arguments = arguments();
    } else if (startsTestArgument()) {
      arguments = new Expression.ArgumentList(List.of(postfix(primary())), Map.of());
    }
    Expression test = new Expression.Test(operand, name, arguments);
    return negated ? new Expression.Not(test) : test;
  }

  private boolean startsTestArgument() {
    Token token = tokens.current();
    return switch (token.kind()) {
      case STRING, INTEGER, FLOAT -> true;
      case OPERATOR -> token.text().equals("[") || token.text().equals("{");
      case NAME -> !List.of("else", "or", "and", "is", "if", "in", "not").contains(token.text());
      default -> false;
    };
  }
}
