package dev.baton.bench.quality;

import dev.baton.router.text.HuggingFaceTextModel;
import dev.baton.router.text.TextModel;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Reads the token ids that engines are compared on. */
public final class Prompts {

  private static final String BUILT_IN = "prompts.txt";
  private static final String TOKENIZER = "tokenizer.json";

  private Prompts() {}

  /**
   * @param model whose tokenizer reads texts
   * @param vocabulary token ids are below it
   * @param longest tokens of a prompt; what is beyond is cut off
   * @return at least one prompt, each of two tokens or more
   * @throws IllegalArgumentException when the source has no such prompts
   * @throws IOException when a file cannot be read
   */
  public static List<int[]> read(Path model, QualityPlan.Source source, int vocabulary, int longest)
      throws IOException {
    List<int[]> all =
        switch (source) {
          case QualityPlan.Source.Texts(@Nullable Path file) -> encode(model, texts(file));
          case QualityPlan.Source.Tokens(Path file) -> parse(file, vocabulary);
        };
    List<int[]> usable = new ArrayList<>();
    for (int[] prompt : all) {
      if (prompt.length >= 2) {
        usable.add(Arrays.copyOf(prompt, Math.min(prompt.length, longest)));
      }
    }
    if (usable.isEmpty()) {
      throw new IllegalArgumentException(
          "prompts: none of two tokens or more (expected: at least one)");
    }
    return usable;
  }

  private static String texts(@Nullable Path file) throws IOException {
    if (file != null) {
      try {
        return Files.readString(file);
      } catch (IOException e) {
        throw unreadable(file, e);
      }
    }
    try (@Nullable InputStream in = Prompts.class.getResourceAsStream(BUILT_IN)) {
      if (in == null) {
        throw new IllegalStateException("resource: %s: missing".formatted(BUILT_IN));
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  private static IllegalArgumentException unreadable(Path file, IOException e) {
    return new IllegalArgumentException(
        "prompts: %s: %s (expected: a file of UTF-8 text)".formatted(file, e), e);
  }

  private static List<int[]> encode(Path model, String texts) {
    if (!Files.isReadable(model.resolve(TOKENIZER))) {
      throw new IllegalArgumentException(
          "model: %s has no readable %s (expected: one, or prompts as token ids: --tokens FILE)"
              .formatted(model, TOKENIZER));
    }
    List<int[]> prompts = new ArrayList<>();
    try (TextModel tokenizer = HuggingFaceTextModel.load(model)) {
      for (String text : texts.strip().split("\\n\\s*\\n")) {
        prompts.add(tokenizer.encode(text.strip(), true));
      }
    }
    return prompts;
  }

  private static List<int[]> parse(Path file, int vocabulary) {
    List<int[]> prompts = new ArrayList<>();
    int number = 0;
    List<String> lines;
    try {
      lines = Files.readAllLines(file);
    } catch (IOException e) {
      throw unreadable(file, e);
    }
    for (String line : lines) {
      number++;
      if (!line.isBlank()) {
        int[] prompt = new int[0];
        for (String id : line.strip().split("[\\s,]+")) {
          prompt = Arrays.copyOf(prompt, prompt.length + 1);
          prompt[prompt.length - 1] = token(id, vocabulary, file, number);
        }
        prompts.add(prompt);
      }
    }
    return prompts;
  }

  private static int token(String id, int vocabulary, Path file, int line) {
    int token = id.matches("\\d{1,9}") ? Integer.parseInt(id) : -1;
    if (token < 0 || token >= vocabulary) {
      throw new IllegalArgumentException(
          "%s, line %d: %s (expected: token ids from 0 to %d)"
              .formatted(file, line, id, vocabulary - 1));
    }
    return token;
  }
}
