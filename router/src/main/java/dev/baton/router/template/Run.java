package dev.baton.router.template;

import java.time.ZonedDateTime;

/**
 * One rendering: its output and what it may still use up. The bounds are far above what a prompt
 * needs; they stop a template that grows without end.
 */
final class Run {

  /** Characters of the output, and of any one string on the way there. */
  static final int MAX_TEXT = 32 << 20;

  private static final int MAX_ITERATIONS = 2_000_000;
  private static final int MAX_CALL_DEPTH = 100;

  /** What strftime_now sees. */
  final ZonedDateTime now;

  private StringBuilder out = new StringBuilder();
  private int iterations;
  private int depth;

  Run(ZonedDateTime now) {
    this.now = now;
  }

  void write(String text) {
    checkLength((long) out.length() + text.length());
    out.append(text);
  }

  String output() {
    return out.toString();
  }

  /** What the body writes, instead of writing it. */
  String capture(Runnable body) {
    StringBuilder outer = out;
    out = new StringBuilder();
    try {
      body.run();
      return out.toString();
    } finally {
      out = outer;
    }
  }

  void iterate() {
    if (++iterations > MAX_ITERATIONS) {
      throw new TemplateException("loops: more than " + MAX_ITERATIONS + " iterations");
    }
  }

  void enterCall() {
    if (++depth > MAX_CALL_DEPTH) {
      throw new TemplateException("calls: nested deeper than " + MAX_CALL_DEPTH);
    }
  }

  void leaveCall() {
    depth--;
  }

  /** Refuses a text, or a list, before it is made. */
  static void checkLength(long length) {
    if (length > MAX_TEXT) {
      throw new TemplateException("text: longer than " + MAX_TEXT + " characters");
    }
  }
}
