package dev.baton.router.text;

import dev.baton.router.template.Template;
import dev.baton.router.template.TemplateException;
import java.time.Clock;
import java.time.ZonedDateTime;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * The chat templates of a model directory, by name; most have one, called default. Where several
 * files have one, chat_template.jinja wins over tokenizer_config.json, and that over
 * chat_template.json. Immutable.
 */
final class ChatTemplates {

  private static final String DEFAULT = "default";
  private static final String TOOL_USE = "tool_use";
  private static final String DEVELOPER = "developer";

  private final Map<String, Template> templates = new LinkedHashMap<>();
  private final Map<String, Object> specialTokens;
  private final Clock clock;

  /** Templates that name the role developer; to the others it is told as system. */
  private final Set<Template> knowDeveloper = new HashSet<>();

  private ChatTemplates(Map<String, Object> specialTokens, Clock clock) {
    this.specialTokens = specialTokens;
    this.clock = clock;
  }

  /**
   * @param clock what the template function strftime_now sees
   */
  static ChatTemplates read(ModelDirectory directory, Clock clock) {
    ChatTemplates templates = new ChatTemplates(SpecialTokens.read(directory), clock);
    for (String file : new String[] {"chat_template.json", "tokenizer_config.json"}) {
      Optional<JsonNode> json = directory.json(file);
      json.ifPresent(node -> templates.add(file, node.path("chat_template")));
    }
    directory
        .text("chat_template.jinja")
        .ifPresent(source -> templates.add("chat_template.jinja", DEFAULT, source));
    return templates;
  }

  private void add(String file, JsonNode template) {
    if (template.isString()) {
      add(file, DEFAULT, template.asString());
    } else if (template.isArray()) {
      for (JsonNode named : template) {
        add(file, named.path("name").asString(""), named.path("template").asString(""));
      }
    } else if (!template.isMissingNode() && !template.isNull()) {
      throw new TextModelException(
          file + ": chat_template: " + template.getNodeType() + " (expected: string or list)");
    }
  }

  private void add(String file, String name, String source) {
    String label = name.equals(DEFAULT) ? "chat_template" : "chat_template '" + name + "'";
    try {
      Template template = Template.parse(label, source);
      templates.put(name, template);
      if (source.contains(DEVELOPER)) {
        knowDeveloper.add(template);
      }
    } catch (TemplateException e) {
      throw new TextModelException(file + ": " + e.getMessage(), e);
    }
  }

  boolean present() {
    return !templates.isEmpty();
  }

  /** Renders the template for tools if there are any and the model has one, else the default. */
  String render(TextModel.ChatInput input) {
    Template template = input.tools() == null ? null : templates.get(TOOL_USE);
    if (template == null) {
      template = templates.get(DEFAULT);
    }
    if (template == null) {
      throw new TextModelException("chat_template: the model has none");
    }
    // As in transformers, tools and documents are there even if they are None.
    Map<String, @Nullable Object> variables = new HashMap<>(specialTokens);
    variables.put("documents", null);
    variables.putAll(input.extra());
    variables.put(
        "messages",
        knowDeveloper.contains(template)
            ? input.messages()
            : input.messages().stream().map(ChatTemplates::asSystem).toList());
    variables.put("tools", input.tools());
    variables.put("add_generation_prompt", input.addGenerationPrompt());
    try {
      return template.render(variables, ZonedDateTime.now(clock));
    } catch (TemplateException e) {
      throw new TextModelException(e.getMessage(), e);
    } catch (IllegalArgumentException e) {
      throw new TextModelException("chat_template: " + e.getMessage(), e);
    }
  }

  private static Map<String, @Nullable Object> asSystem(Map<String, @Nullable Object> message) {
    if (!DEVELOPER.equals(message.get("role"))) {
      return message;
    }
    Map<String, @Nullable Object> system = new LinkedHashMap<>(message);
    system.put("role", "system");
    return system;
  }
}
