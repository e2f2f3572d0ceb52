package dev.baton.router.template;

import java.util.List;

/** The tokens of a template, read one after the other with one token of looking ahead. */
final class TokenReader {

  /** Nesting of brackets, blocks and operators; beyond it the stack would end first. */
  private static final int MAX_DEPTH = 150;

  private final List<Token> tokens;
  private int position;
  private int depth;

  TokenReader(List<Token> tokens) {
    this.tokens = tokens;
  }

  Token current() {
    return tokens.get(position);
  }

  Token next() {
    Token token = current();
    if (token.kind() != Token.Kind.END) {
      position++;
    }
    return token;
  }

  /** The token after the current one. */
  Token ahead() {
    return tokens.get(Math.min(position + 1, tokens.size() - 1));
  }

  int line() {
    return current().line();
  }

  boolean isOperator(String text) {
    return current().is(Token.Kind.OPERATOR, text);
  }

  boolean isName(String text) {
    return current().is(Token.Kind.NAME, text);
  }

  boolean isOneOf(List<String> operators) {
    return current().kind() == Token.Kind.OPERATOR && operators.contains(current().text());
  }

  boolean skipOperator(String text) {
    boolean found = isOperator(text);
    if (found) {
      position++;
    }
    return found;
  }

  boolean skipName(String text) {
    boolean found = isName(text);
    if (found) {
      position++;
    }
    return found;
  }

  void expectOperator(String text) {
    if (!skipOperator(text)) {
      throw unexpected("'" + text + "'");
    }
  }

  void expectName(String text) {
    if (!skipName(text)) {
      throw unexpected("'" + text + "'");
    }
  }

  Token expect(Token.Kind kind, String what) {
    if (current().kind() != kind) {
      throw unexpected(what);
    }
    return next();
  }

  String name() {
    return expect(Token.Kind.NAME, "a name").text();
  }

  TemplateException unexpected(String expected) {
    return new TemplateException(
        "unexpected " + current().describe() + " (expected: " + expected + ")", line());
  }

  void enter() {
    if (++depth > MAX_DEPTH) {
      throw new TemplateException("nested deeper than " + MAX_DEPTH, line());
    }
  }

  void leave() {
    depth--;
  }
}
