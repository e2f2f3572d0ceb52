package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.baton.cli.Repository;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** The official {@code openai} package of npm, run by Node as its users run it. */
final class OpenAiPackage {

  private OpenAiPackage() {}

  /** Runs {@code conformance.mjs} against the system and fails with what it says. */
  static void check(BatonSystem system, String expected) {
    assumeTrue(exists("node"), "node is not installed (apt-get install nodejs)");
    assumeTrue(exists("npm"), "npm is not installed (apt-get install npm)");
    Path directory = install();
    Output output =
        run(
            directory,
            Map.of("BATON_URL", system.url("/v1"), "BATON_EXPECTED", expected),
            List.of("node", "conformance.mjs"));
    assertThat(output.code()).as(output.text()).isZero();
  }

  private static boolean exists(String program) {
    for (String directory : System.getenv("PATH").split(":")) {
      if (Files.isExecutable(Path.of(directory, program))) {
        return true;
      }
    }
    return false;
  }

  /** Once per build directory: the lock file names each package and its hash. */
  private static synchronized Path install() {
    Path sources = Repository.root().resolve("cli/src/test/node");
    Path directory = Repository.root().resolve("cli/target/node");
    try {
      Files.createDirectories(directory);
      boolean changed = false;
      for (String name : List.of("package.json", "package-lock.json", "conformance.mjs")) {
        Path copy = directory.resolve(name);
        Path source = sources.resolve(name);
        if (!Files.exists(copy) || Files.mismatch(source, copy) >= 0) {
          Files.copy(source, copy, StandardCopyOption.REPLACE_EXISTING);
          changed |= name.startsWith("package");
        }
      }
      if (changed || !Files.isDirectory(directory.resolve("node_modules/openai"))) {
        Output output =
            run(directory, Map.of(), List.of("npm", "ci", "--no-audit", "--no-fund", "--silent"));
        assertThat(output.code()).as("npm ci: " + output.text()).isZero();
      }
      return directory;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private record Output(int code, String text) {}

  private static Output run(Path directory, Map<String, String> environment, List<String> command) {
    try {
      Path file = Files.createTempFile("baton-e2e-", ".node");
      ProcessBuilder builder = new ProcessBuilder(new ArrayList<>(command));
      builder.directory(directory.toFile());
      builder.environment().putAll(environment);
      builder.redirectErrorStream(true).redirectOutput(file.toFile());
      Process process = builder.start();
      boolean ended = process.waitFor(2 * Deadline.AMPLE.toSeconds(), TimeUnit.SECONDS);
      if (!ended) {
        process.destroyForcibly();
      }
      String text = Files.readString(file, StandardCharsets.UTF_8);
      Files.delete(file);
      return new Output(ended ? process.exitValue() : -1, text);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(e);
    }
  }
}
