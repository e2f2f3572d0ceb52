package dev.baton.router.template;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** Damaged templates give a TemplateException or some text, never anything else. */
final class TemplateFuzzTest {

  private static final int ROUNDS = Integer.getInteger("fuzz.rounds", 4000);
  private static final String[] PIECES = {
    "{{",
    "}}",
    "{%",
    "%}",
    "{%-",
    "-%}",
    "{#",
    "#}",
    "|",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    ".",
    ",",
    ":",
    "=",
    "~",
    "+",
    "-",
    "*",
    "**",
    "/",
    "//",
    "%",
    "<",
    "==",
    " in ",
    " is ",
    " not ",
    " if ",
    " else ",
    "for",
    "endfor",
    "set",
    "loop",
    "messages",
    "none",
    "true",
    "0",
    "-1",
    "99999999999",
    "1.5",
    "\\",
    "\n",
    "é",
    "🙂",
    "[::-1]",
    "|tojson",
    "|length",
    "|list",
    "|sort",
    "|join",
    "|first",
    "|map('upper')",
    "|int",
    "|string",
    ".items()",
    ".split('a')",
    "namespace()"
  };

  @Test
  void damagedTemplatesNeverCrash() throws IOException {
    long seed = Long.getLong("seed", new Random().nextLong());
    System.out.println("seed " + seed);
    Random random = new Random(seed);
    List<String> sources = new ArrayList<>();
    try (Stream<Path> files = Files.list(Path.of("src/test/resources/template/templates"))) {
      for (Path file : files.sorted().toList()) {
        sources.add(Files.readString(file));
      }
    }
    JsonNode scenarios =
        TemplateGoldensTest.json(Path.of("src/test/resources/template/scenarios.json"));
    List<Map<String, Object>> variables = new ArrayList<>();
    scenarios.forEach(scenario -> variables.add(TemplateGoldensTest.variables(scenario)));
    for (int round = 0; round < ROUNDS; round++) {
      String source = damaged(sources.get(random.nextInt(sources.size())), random);
      try {
        Template.parse("t", source)
            .render(variables.get(random.nextInt(variables.size())), TemplateGoldensTest.NOW);
      } catch (TemplateException expected) {
        continue;
      } catch (RuntimeException | Error e) {
        throw new AssertionError("seed " + seed + ", round " + round + ":\n" + source, e);
      }
    }
  }

  private static String damaged(String source, Random random) {
    StringBuilder text = new StringBuilder(source);
    for (int changes = 1 + random.nextInt(4); changes > 0; changes--) {
      int at = random.nextInt(text.length() + 1);
      int end = Math.min(text.length(), at + 1 + random.nextInt(12));
      switch (random.nextInt(4)) {
        case 0 -> text.delete(at, end);
        case 1 -> text.insert(at, PIECES[random.nextInt(PIECES.length)]);
        case 2 -> text.replace(at, end, PIECES[random.nextInt(PIECES.length)]);
        default -> text.insert(random.nextInt(text.length() + 1), text.substring(at, end));
      }
    }
    return text.toString();
  }
}
