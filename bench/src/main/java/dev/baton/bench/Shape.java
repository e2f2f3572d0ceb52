package dev.baton.bench;

import dev.baton.engine.checkpoint.ConfigReader;
import dev.baton.engine.checkpoint.ModelConfig;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A model's numbers without its weights: one of the named shapes, which are config.json files among
 * this module's resources, or that of a model directory. Closing it removes the copy that a named
 * shape is read from.
 */
public final class Shape implements AutoCloseable {

  /** Shapes that need no directory. */
  public static final List<String> NAMED =
      List.of(
          "llama-1b",
          "llama-8b",
          "qwen3-0.6b",
          "qwen3-moe-1b",
          "qwen3-30b-4",
          "mixtral-8x7b-2",
          "stories260k",
          "mixture-260k");

  private static final String CONFIG = "config.json";

  private final String name;
  private final Path directory;
  private final boolean copied;
  private final ModelConfig config;

  private Shape(String name, Path directory, boolean copied) {
    this.name = name;
    this.directory = directory;
    this.copied = copied;
    this.config = ConfigReader.read(directory);
  }

  /**
   * @param nameOrDirectory one of {@link #NAMED}, or a directory with config.json
   */
  public static Shape open(String nameOrDirectory) {
    if (NAMED.contains(nameOrDirectory)) {
      return named(nameOrDirectory);
    }
    Path directory = Path.of(nameOrDirectory);
    if (!Files.isRegularFile(directory.resolve(CONFIG))) {
      throw new IllegalArgumentException(
          "shape: %s (expected: one of %s, or a directory with config.json)"
              .formatted(nameOrDirectory, NAMED));
    }
    Path last = directory.toAbsolutePath().normalize().getFileName();
    return new Shape(last == null ? nameOrDirectory : last.toString(), directory, false);
  }

  private static Shape named(String name) {
    String resource = "shapes/" + name + ".json";
    try (@Nullable InputStream in = Shape.class.getResourceAsStream(resource)) {
      if (in == null) {
        throw new IllegalStateException("resource: %s: missing".formatted(resource));
      }
      Path directory = Files.createTempDirectory("baton-shape-");
      // For whoever interrupts a measurement. What is named last goes first.
      directory.toFile().deleteOnExit();
      directory.resolve(CONFIG).toFile().deleteOnExit();
      Files.copy(in, directory.resolve(CONFIG));
      return new Shape(name, directory, true);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public String name() {
    return name;
  }

  /** Holds config.json. */
  public Path directory() {
    return directory;
  }

  /** Its numbers. */
  public ModelConfig config() {
    return config;
  }

  @Override
  public void close() {
    if (copied) {
      try {
        Files.deleteIfExists(directory.resolve(CONFIG));
        Files.deleteIfExists(directory);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }
}
