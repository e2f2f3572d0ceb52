package dev.baton.router.template;

/**
 * A piece of a template: text between tags, or a part of a tag.
 *
 * @param text literal text, name, operator, decoded string, or the digits of a number
 * @param line from 1
 */
record Token(Kind kind, String text, int line) {

  enum Kind {
    TEXT,
    BLOCK_BEGIN,
    BLOCK_END,
    VARIABLE_BEGIN,
    VARIABLE_END,
    NAME,
    STRING,
    INTEGER,
    FLOAT,
    OPERATOR,
    END
  }

  boolean is(Kind wanted, String wantedText) {
    return kind == wanted && text.equals(wantedText);
  }

  /** For error messages. */
  String describe() {
    return switch (kind) {
      case TEXT -> "text";
      case BLOCK_BEGIN, BLOCK_END, VARIABLE_BEGIN, VARIABLE_END, OPERATOR, NAME -> "'" + text + "'";
      case STRING -> "a string";
      case INTEGER, FLOAT -> text;
      case END -> "the end of the template";
    };
  }
}
