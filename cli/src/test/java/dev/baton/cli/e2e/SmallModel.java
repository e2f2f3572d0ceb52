package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.Repository;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** Copies of the small model whose config.json says something else; the weights are the same. */
final class SmallModel {

  private final Path directory;

  private SmallModel(Path directory) {
    this.directory = directory;
  }

  /** A copy in this directory, under the model's own name. */
  static SmallModel in(Path parent) throws IOException {
    Path copy = Files.createDirectory(parent.resolve(Expected.MODEL));
    Path small = Repository.root().resolve("models").resolve(Expected.MODEL);
    try (Stream<Path> files = Files.list(small)) {
      for (Path file : files.toList()) {
        Files.copy(file, copy.resolve(file.getFileName()));
      }
    }
    return new SmallModel(copy);
  }

  SmallModel contextLength(int tokens) throws IOException {
    return replace("\"max_position_embeddings\": 512", "\"max_position_embeddings\": " + tokens);
  }

  /** Every layer sees so many tokens back. */
  SmallModel window(int tokens) throws IOException {
    return replace("LlamaForCausalLM", "MistralForCausalLM")
        .replace("\"llama\",", "\"mistral\", \"sliding_window\": " + tokens + ",");
  }

  private SmallModel replace(String said, String now) throws IOException {
    Path config = directory.resolve("config.json");
    String before = Files.readString(config);
    assertThat(before).contains(said);
    Files.writeString(config, before.replace(said, now));
    return this;
  }

  @Override
  public String toString() {
    return directory.toString();
  }
}
