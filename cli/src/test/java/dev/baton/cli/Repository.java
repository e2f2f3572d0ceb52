package dev.baton.cli;

import java.nio.file.Files;
import java.nio.file.Path;

/** Where this checkout lies. */
public final class Repository {

  private Repository() {}

  /** The directory of {@code ./baton}, found upwards from where the test runs. */
  public static Path root() {
    Path directory = Path.of("").toAbsolutePath();
    while (!Files.isExecutable(directory.resolve("baton"))) {
      directory = directory.getParent();
      if (directory == null) {
        throw new IllegalStateException("no ./baton above " + Path.of("").toAbsolutePath());
      }
    }
    return directory;
  }
}
