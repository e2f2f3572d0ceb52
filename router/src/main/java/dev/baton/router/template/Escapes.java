package dev.baton.router.template;

/** Backslash escapes of Python string literals. */
final class Escapes {

  private Escapes() {}

  static String decode(String literal, int line) {
    if (literal.indexOf('\\') < 0) {
      return literal;
    }
    StringBuilder text = new StringBuilder(literal.length());
    int i = 0;
    while (i < literal.length()) {
      char c = literal.charAt(i++);
      if (c != '\\') {
        text.append(c);
        continue;
      }
      char escape = literal.charAt(i++);
      switch (escape) {
        case '\n' -> {}
        case '\\', '\'', '"' -> text.append(escape);
        case 'a' -> text.append('\u0007');
        case 'b' -> text.append('\b');
        case 'f' -> text.append('\f');
        case 'n' -> text.append('\n');
        case 'r' -> text.append('\r');
        case 't' -> text.append('\t');
        case 'v' -> text.append('\u000B');
        case 'x' -> i = hex(literal, i, 2, text, line);
        case 'u' -> i = hex(literal, i, 4, text, line);
        case 'U' -> i = hex(literal, i, 8, text, line);
        case 'N' -> throw new TemplateException("unsupported escape '\\N' in a string", line);
        case '0', '1', '2', '3', '4', '5', '6', '7' -> {
          int value = escape - '0';
          for (int digits = 1; digits < 3 && i < literal.length(); digits++, i++) {
            int digit = Character.digit(literal.charAt(i), 8);
            if (digit < 0) {
              break;
            }
            value = value * 8 + digit;
          }
          text.append((char) value);
        }
        default -> text.append('\\').append(escape);
      }
    }
    return text.toString();
  }

  private static int hex(String literal, int from, int digits, StringBuilder text, int line) {
    int end = from + digits;
    long value = 0;
    for (int i = from; i < end; i++) {
      int digit = i < literal.length() ? Character.digit(literal.charAt(i), 16) : -1;
      if (digit < 0) {
        throw new TemplateException("bad hexadecimal escape in a string", line);
      }
      value = value * 16 + digit;
    }
    if (value > Character.MAX_CODE_POINT) {
      throw new TemplateException("bad hexadecimal escape in a string", line);
    }
    text.appendCodePoint((int) value);
    return end;
  }
}
