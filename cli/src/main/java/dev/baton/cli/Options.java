package dev.baton.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** Checks of option values, and the defaults that depend on where the program lies. */
final class Options {

  private Options() {}

  /** {@code value} may be absent. */
  static void checkAtLeast(String name, @Nullable Integer value, int least) {
    if (value != null && value < least) {
      throw CommandFailure.usage("%s: %d (expected: >= %d)".formatted(name, value, least));
    }
  }

  /** 0 means any free port. */
  static void checkPort(String name, int port) {
    if (port < 0 || port > 65535) {
      throw CommandFailure.usage("%s: %d (expected: 0 to 65535)".formatted(name, port));
    }
  }

  static void checkTensorParallel(String name, @Nullable Integer ranks) {
    if (ranks != null && ranks != 1 && ranks != 2 && ranks != 4 && ranks != 8) {
      throw CommandFailure.usage("%s: %d (expected: 1, 2, 4 or 8)".formatted(name, ranks));
    }
  }

  /** The model to serve: as asked for, else the small one of the checkout. */
  static Path modelDirectory(@Nullable Path asked) {
    return modelDirectory(asked, "config.json", "tokenizer.json");
  }

  /** Likewise, for what needs no tokenizer. */
  static Path modelWithConfig(@Nullable Path asked) {
    return modelDirectory(asked, "config.json");
  }

  private static Path modelDirectory(@Nullable Path asked, String... files) {
    String home = System.getenv("BATON_HOME");
    Path directory = asked;
    if (directory == null) {
      directory = Path.of(home == null ? "." : home, "models", "stories260K");
    }
    directory = directory.toAbsolutePath().normalize();
    if (!Files.isDirectory(directory)) {
      throw CommandFailure.usage("--model: %s (expected: a directory)".formatted(directory));
    }
    for (String file : files) {
      if (!Files.isReadable(directory.resolve(file))) {
        throw CommandFailure.usage(
            "--model: %s has no readable %s (expected: a Hugging Face model directory)"
                .formatted(directory, file));
      }
    }
    return directory;
  }
}
