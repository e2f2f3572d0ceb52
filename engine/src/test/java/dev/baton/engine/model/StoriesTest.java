package dev.baton.engine.model;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.Precision;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The model that ships with the repository tells the story that llama2.c tells. */
class StoriesTest {

  private static final int BOS = 1;

  @ParameterizedTest(name = "TP {0}")
  @ValueSource(ints = {1, 8})
  void continuesTheEmptyPromptAsExpected(int tensorParallel) throws IOException {
    StringBuilder story = new StringBuilder();
    try (Loaded loaded =
        new Loaded(Loaded.options(Loaded.STORIES, Precision.AUTO, tensorParallel))) {
      Map<Integer, String> pieces = pieces();
      Loaded.Sequence sequence = loaded.new Sequence(256);
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      int token = BOS;
      for (int i = 0; i < 200; i++) {
        token = Loaded.argmax(sequence.feed(token));
        bytes.writeBytes(decode(pieces.getOrDefault(token, "<no such token>")));
      }
      story.append(bytes.toString(StandardCharsets.UTF_8).substring(1));
    }
    assertThat(story.toString())
        .isEqualTo(Files.readString(Loaded.STORIES.resolve("expected-greedy-200.txt")));
  }

  private static Map<Integer, String> pieces() {
    JsonNode vocabulary =
        JsonMapper.shared()
            .readTree(Loaded.STORIES.resolve("tokenizer.json"))
            .get("model")
            .get("vocab");
    Map<Integer, String> pieces = new HashMap<>();
    vocabulary.properties().forEach(each -> pieces.put(each.getValue().intValue(), each.getKey()));
    return pieces;
  }

  private static byte[] decode(String piece) {
    return piece.matches("<0x[0-9A-F]{2}>")
        ? new byte[] {(byte) Integer.parseInt(piece.substring(3, 5), 16)}
        : piece.replace('\u2581', ' ').getBytes(StandardCharsets.UTF_8);
  }
}
