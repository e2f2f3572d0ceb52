package dev.baton.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Where the processes of one {@code up} write their logs: a directory per run, the newest kept. */
final class LogDirectory {

  /** Runs whose logs stay; older ones are removed. */
  private static final int KEPT_RUNS = 20;

  private LogDirectory() {}

  /** {@code asked}, made if absent, or a new one in the user's state directory. */
  static Path create(@Nullable Path asked) {
    Path directory = asked == null ? newRun() : asked.toAbsolutePath();
    try {
      Files.createDirectories(directory);
    } catch (IOException e) {
      throw CommandFailure.failed("--log-dir: cannot create %s: %s".formatted(directory, e));
    }
    if (!Files.isWritable(directory)) {
      throw CommandFailure.failed("--log-dir: %s (expected: writable)".formatted(directory));
    }
    return directory;
  }

  private static Path newRun() {
    Path runs = stateDirectory().resolve("baton");
    removeOld(runs);
    String time = LocalDateTime.now().format(DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss"));
    return runs.resolve(time + "-" + ProcessHandle.current().pid());
  }

  private static Path stateDirectory() {
    String xdg = System.getenv("XDG_STATE_HOME");
    return xdg == null || xdg.isEmpty()
        ? Path.of(System.getProperty("user.home"), ".local", "state")
        : Path.of(xdg);
  }

  private static void removeOld(Path runs) {
    if (!Files.isDirectory(runs)) {
      return;
    }
    try (Stream<Path> entries = Files.list(runs)) {
      // Names begin with the time, so their order is the order of the runs.
      List<Path> old = entries.sorted().toList();
      for (Path run : old.subList(0, Math.max(0, old.size() - KEPT_RUNS))) {
        remove(run);
      }
    } catch (IOException e) {
      System.err.println("baton: old logs stay: " + e.getMessage());
    }
  }

  private static void remove(Path run) throws IOException {
    try (Stream<Path> files = Files.list(run)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    Files.delete(run);
  }
}
