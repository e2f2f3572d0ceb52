package dev.baton.router.template;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Parses the statements of a template. */
final class Parser {

  private final TokenReader tokens;
  private final ExpressionParser expressions;

  /** Names that the template sets anywhere, which may thus be functions. */
  private final Set<String> namesSet = new HashSet<>();

  private int loops;

  private Parser(List<Token> tokens) {
    this.tokens = new TokenReader(tokens);
    this.expressions = new ExpressionParser(this.tokens);
  }

  static List<Statement> parse(String source) {
    Parser parser = new Parser(Lexer.tokens(source));
    List<Statement> body = parser.body(Set.of());
    if (parser.tokens.current().kind() != Token.Kind.END) {
      throw parser.tokens.unexpected("the end of the template");
    }
    parser.checkCalls();
    return body;
  }

  private void checkCalls() {
    for (ExpressionParser.NamedCall call : expressions.calls) {
      if (!Globals.ALL.containsKey(call.name())
          && !namesSet.contains(call.name())
          && !call.name().equals(Macro.CALLER)
          && !call.name().equals(Statement.For.LOOP)) {
        throw new TemplateException("unknown function '" + call.name() + "'", call.line());
      }
    }
  }

  /** Statements up to a tag with one of the names, which is left to the caller. */
  private List<Statement> body(Set<String> ends) {
    tokens.enter();
    List<Statement> statements = new ArrayList<>();
    while (true) {
      Token token = tokens.current();
      switch (token.kind()) {
        case TEXT -> {
          tokens.next();
          statements.add(new Statement.Literal(token.text(), token.line()));
        }
        case VARIABLE_BEGIN -> {
          tokens.next();
          Expression expression = expressions.tuple(true);
          tokens.expect(Token.Kind.VARIABLE_END, "'}}'");
          statements.add(new Statement.Output(expression, token.line()));
        }
        case BLOCK_BEGIN -> {
          if (tokens.ahead().kind() == Token.Kind.NAME && ends.contains(tokens.ahead().text())) {
            tokens.leave();
            return statements;
          }
          tokens.next();
          statements.add(statement());
        }
        default -> {
          if (!ends.isEmpty()) {
            throw tokens.unexpected(String.join(" or ", ends.stream().sorted().toList()));
          }
          tokens.leave();
          return statements;
        }
      }
    }
  }

  private Statement statement() {
    int line = tokens.line();
    String name = tokens.name();
    return switch (name) {
      case "if" -> ifStatement(line);
      case "for" -> forStatement(line);
      case "set" -> set(line);
      case "macro" -> macro(line);
      case "call" -> call(line);
      case "filter" -> filter(line);
      case "with" -> with(line);
      case "generation" -> {
        blockEnd();
        List<Statement> body = body(Set.of("endgeneration"));
        end();
        yield new Statement.Generation(body, line);
      }
      case "break", "continue" -> {
        if (loops == 0) {
          throw new TemplateException("'" + name + "' outside of a loop", line);
        }
        blockEnd();
        yield new Statement.Jump(
            name.equals("break") ? Statement.Flow.BREAK : Statement.Flow.CONTINUE, line);
      }
      default -> throw new TemplateException("unknown statement '" + name + "'", line);
    };
  }

  private void blockEnd() {
    tokens.expect(Token.Kind.BLOCK_END, "'%}'");
  }

  /** Reads the tag that ends a body. */
  private void end() {
    tag();
    blockEnd();
  }

  private String tag() {
    tokens.expect(Token.Kind.BLOCK_BEGIN, "'{%'");
    return tokens.name();
  }

  private Statement ifStatement(int line) {
    List<Statement.Branch> branches = new ArrayList<>();
    List<Statement> otherwise = List.of();
    String tag;
    do {
      Expression condition = expressions.tuple(false);
      blockEnd();
      branches.add(new Statement.Branch(condition, body(Set.of("elif", "else", "endif"))));
      tag = tag();
    } while (tag.equals("elif"));
    if (tag.equals("else")) {
      blockEnd();
      otherwise = body(Set.of("endif"));
      tag();
    }
    blockEnd();
    return new Statement.If(branches, otherwise, line);
  }

  private Statement forStatement(int line) {
    Target target = target();
    tokens.expectName("in");
    Expression iterable = expressions.tuple(false);
    Expression condition = tokens.skipName("if") ? expressions.expression() : null;
    boolean recursive = tokens.skipName("recursive");
    blockEnd();
    loops++;
    List<Statement> body = body(Set.of("else", "endfor"));
    loops--;
    List<Statement> otherwise = List.of();
    if (tag().equals("else")) {
      blockEnd();
      otherwise = body(Set.of("endfor"));
      tag();
    }
    blockEnd();
    return new Statement.For(target, iterable, condition, body, otherwise, recursive, line);
  }

  /** One or more names with commas between them, in parentheses or not. */
  private Target target() {
    List<Target> targets = new ArrayList<>();
    boolean comma = false;
    do {
      if (comma && !(tokens.current().kind() == Token.Kind.NAME || tokens.isOperator("("))) {
        break;
      }
      if (comma && tokens.isName("in")) {
        break;
      }
      if (tokens.skipOperator("(")) {
        tokens.enter();
        targets.add(target());
        tokens.leave();
        tokens.expectOperator(")");
      } else {
        targets.add(new Target.Name(newName()));
      }
    } while (comma = tokens.skipOperator(","));
    return targets.size() == 1 && !comma ? targets.getFirst() : new Target.Unpacked(targets);
  }

  private String newName() {
    int line = tokens.line();
    String name = tokens.name();
    if (Set.of(
            "true", "false", "none", "True", "False", "None", "loop", "in", "is", "if", "else",
            "and", "or", "not")
        .contains(name)) {
      throw new TemplateException("'" + name + "' cannot be set", line);
    }
    namesSet.add(name);
    return name;
  }

  private Statement set(int line) {
    Target target;
    if (tokens.ahead().is(Token.Kind.OPERATOR, ".")) {
      String namespace = tokens.name();
      tokens.next();
      target = new Target.NamespaceAttribute(namespace, tokens.name());
    } else {
      target = target();
    }
    if (tokens.skipOperator("=")) {
      Expression value = expressions.tuple(true);
      blockEnd();
      return new Statement.Assign(target, value, line);
    }
    Expression filtered = expressions.filters(new Expression.Captured());
    return captured(target, filtered, "endset", line);
  }

  private Statement filter(int line) {
    Expression first = expressions.filter(new Expression.Captured());
    return captured(null, expressions.filters(first), "endfilter", line);
  }

  private Statement with(int line) {
    List<Statement.Assign> assignments = new ArrayList<>();
    while (tokens.current().kind() != Token.Kind.BLOCK_END) {
      if (!assignments.isEmpty()) {
        tokens.expectOperator(",");
      }
      Target target = new Target.Name(newName());
      tokens.expectOperator("=");
      assignments.add(new Statement.Assign(target, expressions.expression(), line));
    }
    blockEnd();
    List<Statement> body = body(Set.of("endwith"));
    end();
    return new Statement.With(assignments, body, line);
  }

  private Statement captured(@Nullable Target target, Expression filtered, String end, int line) {
    blockEnd();
    // A jump out of a captured block would lose its text.
    int outer = loops;
    loops = 0;
    List<Statement> body = body(Set.of(end));
    loops = outer;
    end();
    return new Statement.Capture(target, filtered, body, line);
  }

  private Statement macro(int line) {
    String name = newName();
    return new Statement.Define(macroBody(name, "endmacro", parameters()), line);
  }

  private List<Macro.Parameter> parameters() {
    List<Macro.Parameter> parameters = new ArrayList<>();
    tokens.expectOperator("(");
    while (!tokens.skipOperator(")")) {
      if (!parameters.isEmpty()) {
        tokens.expectOperator(",");
      }
      String name = newName();
      Expression fallback = tokens.skipOperator("=") ? expressions.expression() : null;
      if (fallback == null && !parameters.isEmpty() && parameters.getLast().fallback() != null) {
        throw new TemplateException("parameter '" + name + "': needs a default", tokens.line());
      }
      parameters.add(new Macro.Parameter(name, fallback));
    }
    return parameters;
  }

  private Macro macroBody(String name, String end, List<Macro.Parameter> parameters) {
    blockEnd();
    Set<String> outerNames = expressions.namesRead;
    expressions.namesRead = new HashSet<>();
    int outerLoops = loops;
    loops = 0;
    List<Statement> body = body(Set.of(end));
    loops = outerLoops;
    Set<String> reads = Set.copyOf(expressions.namesRead);
    expressions.namesRead = outerNames;
    end();
    return new Macro(name, parameters, body, reads);
  }

  private Statement call(int line) {
    List<Macro.Parameter> parameters = tokens.isOperator("(") ? parameters() : List.of();
    if (!(expressions.expression() instanceof Expression.Call call)) {
      throw new TemplateException("call: not a call of a macro", line);
    }
    return new Statement.CallBlock(macroBody(Macro.CALLER, "endcall", parameters), call, line);
  }
}
