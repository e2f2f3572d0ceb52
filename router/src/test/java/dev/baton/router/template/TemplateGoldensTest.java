package dev.baton.router.template;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Every template with every conversation, as Python's jinja2 renders it. */
final class TemplateGoldensTest {

  /** Another directory of templates, goldens.json beside it, may be named to check it as well. */
  private static final Path DIRECTORY =
      Path.of(System.getProperty("templates", "src/test/resources/template/templates"));

  private static final Path SCENARIOS = Path.of("src/test/resources/template/scenarios.json");

  /** As in tools/template_goldens.py. */
  static final ZonedDateTime NOW = ZonedDateTime.of(2025, 3, 9, 17, 5, 7, 0, ZoneOffset.UTC);

  @TestFactory
  List<DynamicTest> rendersLikeJinja() throws IOException {
    JsonNode goldens = json(DIRECTORY.resolveSibling("goldens.json"));
    JsonNode scenarios = json(SCENARIOS);
    List<DynamicTest> tests = new ArrayList<>();
    for (String name : goldens.propertyNames()) {
      String source = Files.readString(DIRECTORY.resolve(name + ".jinja"));
      for (String scenario : scenarios.propertyNames()) {
        JsonNode golden = goldens.get(name).get(scenario);
        tests.add(
            DynamicTest.dynamicTest(
                name + ", " + scenario,
                () -> check(name, source, variables(scenarios.get(scenario)), golden)));
      }
    }
    assertThat(tests).isNotEmpty();
    return tests;
  }

  private static void check(
      String name, String source, Map<String, Object> variables, JsonNode golden) {
    Template template = Template.parse(name, source);
    String output;
    try {
      output = template.render(variables, NOW);
    } catch (TemplateException e) {
      if (!golden.has("error")) {
        throw e;
      }
      assertThat(e).hasMessageStartingWith(name + " line ");
      String refusal = golden.get("error").asString();
      if (refusal.startsWith("TemplateError: ")) {
        assertThat(e.getMessage()).endsWith(refusal.substring("TemplateError: ".length()));
      }
      return;
    }
    if (golden.has("error")) {
      fail("rendered, but jinja2 fails: " + golden.get("error").asString());
    }
    assertThat(output).isEqualTo(golden.get("output").asString());
  }

  static JsonNode json(Path file) throws IOException {
    return JsonMapper.shared().readTree(Files.readString(file));
  }

  @SuppressWarnings("unchecked") // a JSON object is a map of strings
  static Map<String, Object> variables(JsonNode scenario) {
    return JsonMapper.shared().convertValue(scenario, Map.class);
  }
}
