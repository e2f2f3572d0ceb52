package dev.baton.router.text;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Optional;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Reads the files of a model directory; every failure names the file. */
record ModelDirectory(Path path, JsonMapper mapper) {

  /** Bounds what is read into memory; the largest tokenizers in use have a third of this. */
  private static final long MAX_FILE_BYTES = 128L << 20;

  /** A file's text, or empty when there is no such file. */
  Optional<String> text(String name) {
    Path file = path.resolve(name);
    try {
      var attributes = Files.readAttributes(file, BasicFileAttributes.class);
      if (!attributes.isRegularFile()) {
        // Opening a pipe would wait for its writer, and a device may never end.
        throw new TextModelException(file + ": no regular file (expected: one, or a link to one)");
      }
      if (attributes.size() > MAX_FILE_BYTES) {
        throw new TextModelException(
            file + ": " + attributes.size() + " bytes (expected: <= " + MAX_FILE_BYTES + ")");
      }
      return Optional.of(Files.readString(file));
    } catch (NoSuchFileException e) {
      return Optional.empty();
    } catch (IOException e) {
      throw new TextModelException(file + ": cannot be read: " + e, e);
    }
  }

  /** A JSON file's object, or empty when there is no such file. */
  Optional<JsonNode> json(String name) {
    return text(name)
        .map(
            content -> {
              JsonNode node;
              try {
                node = mapper.readTree(content);
              } catch (JacksonException e) {
                throw new TextModelException(path.resolve(name) + ": " + reason(e), e);
              }
              if (!node.isObject()) {
                throw new TextModelException(path.resolve(name) + ": not a JSON object");
              }
              return node;
            });
  }

  /** What is wrong with a JSON text, and where. */
  static String reason(JacksonException e) {
    // What is cut off names Jackson's own settings.
    String what =
        e.getOriginalMessage()
            .replaceFirst(", from `[^`]*`", "")
            .split(" \\([^(]*\\[Source: ", 2)[0];
    var at = e.getLocation();
    return at == null
        ? what
        : "line %d, column %d: %s".formatted(at.getLineNr(), at.getColumnNr(), what);
  }
}
