package dev.baton.router.text;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Optional;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Reads the files of a model directory; every failure names the file. */
record ModelDirectory(Path path, JsonMapper mapper) {

  /** A file's text, or empty when there is no such file. */
  Optional<String> text(String name) {
    Path file = path.resolve(name);
    try {
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
                throw new TextModelException(path.resolve(name) + ": " + e.getMessage(), e);
              }
              if (!node.isObject()) {
                throw new TextModelException(path.resolve(name) + ": not a JSON object");
              }
              return node;
            });
  }
}
