package dev.baton.router.template;

import java.time.ZonedDateTime;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A parsed template. Immutable, thread-safe. It is rendered as Hugging Face transformers renders a
 * chat template, or not at all: every error is a {@link TemplateException}.
 */
public final class Template {

  /** Characters of a template's source. */
  private static final int MAX_SOURCE = 1 << 20;

  private final String name;
  private final List<Statement> body;

  private Template(String name, List<Statement> body) {
    this.name = name;
    this.body = body;
  }

  /**
   * @param name what messages call the template
   * @throws TemplateException when the template is malformed or uses what is not supported
   */
  public static Template parse(String name, String source) {
    try {
      if (source.length() > MAX_SOURCE) {
        throw new TemplateException("longer than " + MAX_SOURCE + " characters");
      }
      return new Template(name, Parser.parse(source));
    } catch (TemplateException e) {
      throw e.named(name);
    }
  }

  /**
   * Renders the template.
   *
   * @param variables values are String, Boolean, Number, List, Map or null
   * @param now what the function strftime_now sees
   * @throws TemplateException when the template refuses its input or fails on it
   */
  public String render(Map<String, ? extends @Nullable Object> variables, ZonedDateTime now) {
    Scope scope = new Scope(null);
    Globals.ALL.forEach(scope::set);
    variables.forEach((variable, value) -> scope.set(variable, Values.of(value)));
    Run run = new Run(now);
    try {
      Statement.runAll(body, run, new Scope(scope));
    } catch (TemplateException e) {
      throw e.named(name);
    } catch (StackOverflowError e) {
      // Depth is bounded per macro call, but a thread may have been given a small stack.
      throw new TemplateException("nested too deeply").named(name);
    }
    return run.output();
  }
}
