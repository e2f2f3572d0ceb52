package dev.baton.cli.e2e;

import dev.baton.cli.Repository;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.util.List;
import java.util.Map;

/** The one text that greedy float32 decoding of the small model gives from its BOS token alone. */
final class Expected {

  static final int TOKENS = 200;
  static final String MODEL = "stories260K";
  static final List<Integer> BOS = List.of(1);

  private Expected() {}

  static String text() {
    try {
      return Files.readString(
          Repository.root().resolve("models/stories260K/expected-greedy-200.txt"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The request whose answer is {@link #text}. */
  static Map<String, Object> request(Object prompt, boolean stream) {
    return Map.of(
        "model", MODEL,
        "prompt", prompt,
        "max_tokens", TOKENS,
        "temperature", 0,
        "stream", stream);
  }

  /** A stream that goes on for as long as the model's context allows nearly. */
  static Map<String, Object> longStory() {
    return longStory(500);
  }

  /** As above, of so many tokens. */
  static Map<String, Object> longStory(int tokens) {
    return Map.of(
        "model",
        MODEL,
        "prompt",
        BOS,
        "max_tokens",
        tokens,
        "ignore_eos",
        true,
        "temperature",
        0,
        "stream",
        true);
  }
}
