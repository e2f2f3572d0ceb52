package dev.baton.router.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.router.failure.FailureException;
import dev.baton.router.template.Template;
import dev.baton.router.text.TextModel.ChatInput;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The expected texts are those of transformers 5.18. */
final class ContinuedChatTest {

  private static final String KEEPS =
      "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}";
  private static final String BEFORE = "<|user|>\nu<|end|>\n<|assistant|>";

  @ParameterizedTest
  @CsvSource(
      ignoreLeadingAndTrailingWhitespace = false,
      value = {"Sure ", "''", "end", "|", "  u"})
  void endsWhereTheContentEndsWhateverTheTemplateWritesAfterIt(String content) {
    assertThat(render(KEEPS, content)).isEqualTo(BEFORE + "\n" + content);
  }

  @Test
  void contentThatTheTemplateTrimsEndsTrimmed() {
    String trims = KEEPS.replace("m.content", "m.content | trim");
    assertThat(render(trims, "Sure ,  ")).isEqualTo(BEFORE + "\nSure ,");
    assertThat(render(trims, "\n  a b")).isEqualTo(BEFORE + "\na b");
    assertThat(render(trims, "end")).isEqualTo(BEFORE + "\nend");
    assertThat(render(trims, "")).isEqualTo(BEFORE);
  }

  @Test
  void aTemplateThatDropsTheContentIsRefused() {
    assertThatThrownBy(() -> render(KEEPS.replace("m.content", "m.content[:2]"), "Sure"))
        .isInstanceOf(FailureException.class)
        .hasMessageContaining("continue_final_message");
  }

  private static String render(String template, String content) {
    ChatInput input =
        new ChatInput(
            List.of(
                Map.of("role", "user", "content", "u"),
                Map.of("role", "assistant", "content", content)),
            null,
            false,
            Map.of());
    return ContinuedChat.render(
        input,
        chat ->
            Template.parse("t", template)
                .render(Map.of("messages", chat.messages()), Instant.EPOCH.atZone(ZoneOffset.UTC)));
  }
}
