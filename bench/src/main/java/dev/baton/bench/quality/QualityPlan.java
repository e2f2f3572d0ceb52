package dev.baton.bench.quality;

import dev.baton.bench.FormatChoice;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What {@code baton bench quality} measures.
 *
 * @param model a Hugging Face model directory with weights
 * @param formats each is compared with float32
 * @param source where the prompts come from
 * @param tensorParallel ranks of every engine
 * @param longest tokens of a prompt that are used at most; 0 = as many as the model's context holds
 */
public record QualityPlan(
    Path model, List<FormatChoice> formats, Source source, int tensorParallel, int longest) {

  public QualityPlan {
    formats = List.copyOf(formats);
    if (formats.isEmpty()) {
      throw new IllegalArgumentException("formats: none (expected: at least one)");
    }
    if (longest < 0 || longest == 1) {
      // The first token of a prompt is given: one alone predicts nothing that is known.
      throw new IllegalArgumentException(
          "longest: %d (expected: 0, which is all, or >= 2)".formatted(longest));
    }
  }

  /** Prompts, as text or as tokens. */
  public sealed interface Source {

    /**
     * Texts that are divided by blank lines; the model's tokenizer makes tokens of them.
     *
     * @param file null = the texts that come with the program
     */
    record Texts(@Nullable Path file) implements Source {}

    /** A prompt a line, token ids divided by blanks or commas. */
    record Tokens(Path file) implements Source {}
  }
}
