package dev.baton.router.front.rest;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.router.template.Template;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What of a chat's messages reaches the template; some templates write whole objects. */
final class ChatRequestReaderTest {

  @Test
  void objectsKeepTheOrderOfTheRequest() {
    assertThat(
            written(
                """
                {"role": "assistant", "content": "Hm.", "name": "n", "tool_calls": [
                  {"type": "function", "id": "c1", "function": {"name": "f", "arguments":
                    "{\\"zone\\": 1, \\"city\\": {\\"name\\": \\"x\\", \\"a\\": [{\\"q\\": 1, \\"b\\": 2.0}]}, \\"all\\": true}"}}]}
                """))
        .isEqualTo(
            """
            {"role": "assistant", "content": "Hm.", "name": "n", "tool_calls": [\
            {"type": "function", "id": "c1", "function": {"name": "f", "arguments": \
            {"zone": 1, "city": {"name": "x", "a": [{"q": 1, "b": 2.0}]}, "all": true}}}]}\
            """);
  }

  @Test
  void fieldsThatOnlyTheTemplateKnowsReachIt() {
    assertThat(written("{\"prefix\": true, \"role\": \"user\", \"content\": \"a\", \"x\": null}"))
        .isEqualTo("{\"prefix\": true, \"role\": \"user\", \"content\": \"a\"}");
  }

  @Test
  void anAssistantThatOnlyCalledToolsSaidNothing() {
    assertThat(
            written(
                "{\"role\": \"assistant\", \"content\": null, \"refusal\": null,"
                    + " \"tool_calls\": [{\"function\": {\"name\": \"f\"}}]}"))
        .isEqualTo(
            "{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"function\":"
                + " {\"name\": \"f\", \"arguments\": {}}, \"type\": \"function\"}]}");
  }

  private static String written(String message) {
    String body = "{\"messages\": [%s]}".formatted(message);
    var chat = ChatRequestReader.chat(JsonFields.parse(body.getBytes(StandardCharsets.UTF_8)));
    return Template.parse("t", "{{ messages[0] | tojson }}")
        .render(Map.of("messages", chat.input().messages()), Instant.EPOCH.atZone(ZoneOffset.UTC));
  }
}
