package dev.baton.cli;

import dev.baton.bench.Report;
import dev.baton.engine.EngineException;
import dev.baton.router.text.TextModelException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** What every bench prints: its progress, its table at the end, and its figures into a file. */
final class BenchOutput {

  @Option(names = "--json", paramLabel = "FILE", description = "Writes all figures there too.")
  @Nullable Path json;

  /** A bench, which says what it is at. */
  interface Bench {
    Report run(Consumer<String> progress) throws IOException;
  }

  /**
   * Runs it and prints its report.
   *
   * @return the exit code
   * @throws CommandFailure an argument was wrong, or it could not be done
   */
  int print(Bench bench) {
    ProgressLine.quietLog();
    checkJson();
    try {
      ProgressLine progress = new ProgressLine("bench", System.err);
      Report report = bench.run(progress::show);
      progress.clear();
      System.out.print(report.text());
      write(report);
      return 0;
    } catch (IllegalArgumentException | ArithmeticException e) {
      throw CommandFailure.usage(String.valueOf(e.getMessage()));
    } catch (EngineException | TextModelException | IllegalStateException e) {
      throw CommandFailure.failed(String.valueOf(e.getMessage()));
    } catch (IOException e) {
      throw CommandFailure.failed("cannot be read or written: " + e.getMessage());
    }
  }

  private void write(Report report) {
    if (json == null) {
      return;
    }
    try {
      Files.writeString(json, report.json() + "\n");
    } catch (IOException e) {
      throw CommandFailure.failed("--json: %s: cannot be written: %s".formatted(json, e));
    }
  }

  /** A bench may run for long: that its figures have no place is said before. */
  private void checkJson() {
    if (json == null) {
      return;
    }
    Path parent = json.toAbsolutePath().getParent();
    if (Files.isDirectory(json) || parent == null || !Files.isWritable(parent)) {
      throw CommandFailure.usage(
          "--json: %s (expected: a file in a directory that is there and may be written to)"
              .formatted(json));
    }
  }
}
