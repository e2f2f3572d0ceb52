package dev.baton.router.template;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Cuts a template into tokens, with jinja2's white-space rules under trim_blocks and lstrip_blocks:
 * a newline right after a block or comment tag goes, and so does the indentation before one, unless
 * the tag says otherwise by {@code +}; {@code -} takes all white space on its side.
 */
final class Lexer {

  private static final String SPACE =
      "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
  private static final Pattern SPACES = Pattern.compile(SPACE + "*");
  private static final Pattern TAG = Pattern.compile("\\{[{%#]");
  private static final Pattern RAW =
      Pattern.compile("\\{%([-+]?)" + SPACE + "*raw" + SPACE + "*(?:-%\\}" + SPACE + "*|%\\})");
  private static final Pattern END_RAW =
      Pattern.compile(
          "\\{%([-+]?)" + SPACE + "*endraw" + SPACE + "*(?:\\+%\\}|-%\\}" + SPACE + "*|%\\}\\n?)");
  private static final Pattern COMMENT_END =
      Pattern.compile("\\+#\\}|-#\\}" + SPACE + "*|#\\}\\n?");
  private static final Pattern BLOCK_END = Pattern.compile("\\+%\\}|-%\\}" + SPACE + "*|%\\}\\n?");
  private static final Pattern VARIABLE_END = Pattern.compile("-\\}\\}" + SPACE + "*|\\}\\}");
  private static final Pattern FLOAT =
      Pattern.compile("\\d[\\d_]*(?:(?:\\.\\d[\\d_]*)?[eE][+-]?\\d[\\d_]*|\\.\\d[\\d_]*)");
  private static final Pattern INTEGER =
      Pattern.compile("0[bB][01_]+|0[oO][0-7_]+|0[xX][\\da-fA-F_]+|\\d[\\d_]*");
  private static final Pattern NAME =
      Pattern.compile("[\\p{L}\\p{Nl}_][\\p{L}\\p{Nl}\\p{Mn}\\p{Mc}\\p{Nd}\\p{Pc}_]*");
  private static final Pattern OPERATOR =
      Pattern.compile("//|\\*\\*|==|!=|>=|<=|[-+*/%~\\[\\](){}<>=.:|,;]");

  private final String source;
  private final List<Token> tokens = new ArrayList<>();
  private int position;
  private int line = 1;

  /** Whether the text at the position begins a line, so that indentation there may go. */
  private boolean lineStart = true;

  private Lexer(String source) {
    this.source = source;
  }

  static List<Token> tokens(String source) {
    String text = source.replace("\r\n", "\n").replace('\r', '\n');
    if (text.endsWith("\n")) {
      text = text.substring(0, text.length() - 1);
    }
    Lexer lexer = new Lexer(text);
    lexer.run();
    return lexer.tokens;
  }

  private void run() {
    Matcher tag = TAG.matcher(source);
    while (tag.find(position)) {
      int begin = tag.start();
      Matcher raw = RAW.matcher(source).region(begin, source.length());
      if (raw.lookingAt()) {
        text(begin, sign(raw.group(1)), true);
        advance(raw.end());
        raw();
        continue;
      }
      char kind = source.charAt(begin + 1);
      char next = begin + 2 < source.length() ? source.charAt(begin + 2) : ' ';
      boolean signed = next == '-' || next == '+';
      text(begin, signed ? next : ' ', kind != '{');
      advance(begin + (signed ? 3 : 2));
      switch (kind) {
        case '#' -> comment();
        case '%' -> tag(Token.Kind.BLOCK_BEGIN, "{%", Token.Kind.BLOCK_END, BLOCK_END);
        default -> tag(Token.Kind.VARIABLE_BEGIN, "{{", Token.Kind.VARIABLE_END, VARIABLE_END);
      }
    }
    if (position < source.length()) {
      tokens.add(new Token(Token.Kind.TEXT, source.substring(position), line));
      advance(source.length());
    }
    tokens.add(new Token(Token.Kind.END, "", line));
  }

  private static char sign(String text) {
    return text.isEmpty() ? ' ' : text.charAt(0);
  }

  /** Text up to a tag, with white space taken off as the tag's sign asks. */
  private void text(int end, char sign, boolean block) {
    String text = source.substring(position, end);
    String kept = text;
    if (sign == '-') {
      kept = Text.stripEnd(text);
    } else if (sign != '+' && block) {
      int lastLine = text.lastIndexOf('\n') + 1;
      if ((lastLine > 0 || lineStart) && Text.isBlank(text.substring(lastLine))) {
        kept = text.substring(0, lastLine);
      }
    }
    if (!kept.isEmpty()) {
      tokens.add(new Token(Token.Kind.TEXT, kept, line));
    }
    advance(end);
  }

  private void advance(int to) {
    for (int i = position; i < to; i++) {
      if (source.charAt(i) == '\n') {
        line++;
      }
    }
    if (to > position) {
      lineStart = source.charAt(to - 1) == '\n';
    }
    position = to;
  }

  private void raw() {
    Matcher end = END_RAW.matcher(source);
    if (!end.find(position)) {
      throw new TemplateException("missing endraw", line);
    }
    text(end.start(), sign(end.group(1)), true);
    advance(end.end());
  }

  private void comment() {
    Matcher end = COMMENT_END.matcher(source);
    if (!end.find(position)) {
      throw new TemplateException("missing end of comment", line);
    }
    advance(end.end());
  }

  private void tag(Token.Kind begin, String beginText, Token.Kind end, Pattern endPattern) {
    tokens.add(new Token(begin, beginText, line));
    int opened = line;
    Deque<String> brackets = new ArrayDeque<>();
    while (true) {
      advance(match(SPACES));
      if (position >= source.length()) {
        throw new TemplateException("tag is not closed", opened);
      }
      int closed = brackets.isEmpty() ? match(endPattern) : -1;
      if (closed > position) {
        tokens.add(new Token(end, begin == Token.Kind.BLOCK_BEGIN ? "%}" : "}}", line));
        advance(closed);
        return;
      }
      inside(brackets);
    }
  }

  /** End of the pattern's match at the position, or -1. */
  private int match(Pattern pattern) {
    Matcher matcher = pattern.matcher(source).region(position, source.length());
    return matcher.lookingAt() ? matcher.end() : -1;
  }

  private void inside(Deque<String> brackets) {
    int end;
    if ((end = match(FLOAT)) > 0) {
      add(Token.Kind.FLOAT, source.substring(position, end), end);
    } else if ((end = match(INTEGER)) > 0) {
      add(Token.Kind.INTEGER, source.substring(position, end), end);
    } else if ((end = match(NAME)) > 0) {
      add(Token.Kind.NAME, source.substring(position, end), end);
    } else if ((end = stringEnd()) > 0) {
      String literal = source.substring(position + 1, end - 1);
      add(Token.Kind.STRING, Escapes.decode(literal, line), end);
    } else if ((end = match(OPERATOR)) > 0) {
      String operator = source.substring(position, end);
      balance(operator, brackets);
      add(Token.Kind.OPERATOR, operator, end);
    } else {
      throw new TemplateException(
          "unexpected character '" + Character.toString(source.codePointAt(position)) + "'", line);
    }
  }

  /** End of the string literal at the position, or -1 when there is none or it is not closed. */
  private int stringEnd() {
    char quote = source.charAt(position);
    if (quote != '\'' && quote != '"') {
      return -1;
    }
    for (int i = position + 1; i < source.length(); i++) {
      if (source.charAt(i) == '\\') {
        i++;
      } else if (source.charAt(i) == quote) {
        return i + 1;
      }
    }
    return -1;
  }

  private void add(Token.Kind kind, String text, int end) {
    tokens.add(new Token(kind, text, line));
    advance(end);
  }

  private void balance(String operator, Deque<String> brackets) {
    switch (operator) {
      case "(" -> brackets.push(")");
      case "[" -> brackets.push("]");
      case "{" -> brackets.push("}");
      case ")", "]", "}" -> {
        if (brackets.isEmpty() || !brackets.pop().equals(operator)) {
          throw new TemplateException("unexpected '" + operator + "'", line);
        }
      }
      default -> {}
    }
  }
}
