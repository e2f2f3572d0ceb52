package dev.baton.router.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ChatTemplatesTest {

  private static final List<Map<String, @Nullable Object>> HELLO =
      List.of(Map.of("role", "user", "content", "Hello"));

  @TempDir @Nullable Path temporary;

  @BeforeEach
  void copyTheTokenizer() throws IOException {
    Files.copy(
        HuggingFaceTextModelTest.directory("sentencepiece").resolve("tokenizer.json"),
        directory().resolve("tokenizer.json"));
  }

  @Test
  void smallModelRendersItsOwnTemplateAndEncodesBosOnce() {
    try (TextModel model = HuggingFaceTextModelTest.load("sentencepiece")) {
      assertThat(model.hasChatTemplate()).isTrue();
      assertThat(model.renderChat(input(null, Map.of()))).isEqualTo("<s>Hello");
      int[] ids = model.encode(model.renderChat(input(null, Map.of())), false);
      assertThat(ids[0]).isEqualTo(1);
      assertThat(Arrays.stream(ids).filter(id -> id == 1).count()).isEqualTo(1);
    }
  }

  @Test
  void templateSeesMessagesToolsSpecialTokensAndExtras() throws IOException {
    write(
        "tokenizer_config.json",
        """
        {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "unk_token": null, "chat_template":
        "{{ bos_token }}{{ eos_token }}{{ unk_token }}|{{ tools is none }}|{{ documents is none }}|{{ extra_flag }}|\
        {{ add_generation_prompt }}|{{ messages | tojson }}"}
        """);
    try (TextModel model = load()) {
      assertThat(model.renderChat(input(null, Map.of("extra_flag", 1))))
          .startsWith("<s></s>|True|True|1|True|[{\"")
          .contains("\"content\": \"Hello\"");
    }
  }

  @Test
  void templateForToolsIsTakenWhenThereAreTools() throws IOException {
    write(
        "tokenizer_config.json",
        """
        {"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]}
        """);
    try (TextModel model = load()) {
      assertThat(model.renderChat(input(null, Map.of()))).isEqualTo("plain");
      assertThat(model.renderChat(input(List.of(Map.of("type", "function")), Map.of())))
          .isEqualTo("tools");
    }
  }

  @Test
  void templateFileWinsOverTheConfiguration() throws IOException {
    write("chat_template.json", "{\"chat_template\": \"three\"}");
    assertRenders("three");
    write("tokenizer_config.json", "{\"chat_template\": \"two\"}");
    assertRenders("two");
    write("chat_template.jinja", "one\n");
    assertRenders("one");
  }

  @Test
  void modelWithoutTemplateSaysSo() {
    try (TextModel model = load()) {
      assertThat(model.hasChatTemplate()).isFalse();
      assertThatThrownBy(() -> model.renderChat(input(null, Map.of())))
          .isInstanceOf(TextModelException.class)
          .hasMessageContaining("has none");
    }
  }

  @Test
  void unsupportedTemplateFailsAtLoadNamingFileAndLine() throws IOException {
    write("chat_template.jinja", "a\nb\n{{ messages | frobnicate }}");
    assertThatThrownBy(this::load)
        .isInstanceOf(TextModelException.class)
        .hasMessageEndingWith(
            "chat_template.jinja: chat_template line 3: unknown filter 'frobnicate'");
  }

  @Test
  void refusalOfTheTemplateReachesTheCaller() throws IOException {
    write("chat_template.jinja", "{{ raise_exception('roles must alternate') }}");
    try (TextModel model = load()) {
      assertThatThrownBy(() -> model.renderChat(input(null, Map.of())))
          .isInstanceOf(TextModelException.class)
          .hasMessage("chat_template line 1: roles must alternate");
    }
  }

  private void assertRenders(String expected) {
    try (TextModel model = load()) {
      assertThat(model.renderChat(input(null, Map.of()))).isEqualTo(expected);
    }
  }

  private static TextModel.ChatInput input(
      @Nullable List<Map<String, @Nullable Object>> tools, Map<String, @Nullable Object> extra) {
    return new TextModel.ChatInput(HELLO, tools, true, extra);
  }

  private Path directory() {
    if (temporary == null) {
      throw new IllegalStateException("no temporary directory");
    }
    return temporary;
  }

  private void write(String file, String content) throws IOException {
    Files.writeString(directory().resolve(file), content);
  }

  private TextModel load() {
    return HuggingFaceTextModel.load(directory());
  }
}
