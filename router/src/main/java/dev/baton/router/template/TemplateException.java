package dev.baton.router.template;

/**
 * A template that cannot be parsed, or that failed or refused its input while rendering. The
 * message names the template and the line.
 */
public final class TemplateException extends RuntimeException {

  private final String reason;
  private final int line;

  /** An error whose line is not known yet. */
  TemplateException(String message) {
    this(message, 0);
  }

  TemplateException(String message, int line) {
    super(message);
    this.reason = message;
    this.line = line;
  }

  @Override
  public String getMessage() {
    return reason;
  }

  /** The line in the template, from 1; 0 when it is not known. */
  public int line() {
    return line;
  }

  /** The same error with a line, unless it has one. */
  TemplateException at(int where) {
    return line > 0 || where == 0 ? this : withMessage(reason, where);
  }

  /** The error as the caller sees it. */
  TemplateException named(String template) {
    return withMessage(template + (line > 0 ? " line " + line : "") + ": " + reason, line);
  }

  private TemplateException withMessage(String message, int where) {
    TemplateException copy = new TemplateException(message, where);
    copy.initCause(this);
    return copy;
  }
}
