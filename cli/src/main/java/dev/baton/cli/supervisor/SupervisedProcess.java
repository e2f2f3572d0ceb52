package dev.baton.cli.supervisor;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * One process through all its lives. Its output goes to a log file of its own; its standard input
 * is a pipe whose end tells it that the supervisor is gone. Used by the supervisor's loop only.
 */
final class SupervisedProcess {

  private static final int LAST_LINES = 12;

  /** A process that SIGKILL does not end by then hangs in the kernel; nobody can do more. */
  private static final long KILL_SECONDS = 5;

  private final ProcessSpec spec;
  private final Launcher launcher;
  private final Path log;
  private final Backoff backoff = new Backoff();
  private @Nullable Process process;
  private long startedNanos;
  private long logOffset;
  private long restartNanos;
  private boolean restartDue;

  SupervisedProcess(ProcessSpec spec, Launcher launcher, Path logDirectory) {
    this.spec = spec;
    this.launcher = launcher;
    this.log = logDirectory.resolve(spec.name() + ".log");
  }

  String name() {
    return spec.name();
  }

  Path log() {
    return log;
  }

  /** Starts a new life and returns it, for its {@code onExit}. */
  Process start() throws IOException {
    ProcessBuilder builder = new ProcessBuilder(launcher.with(spec.arguments()));
    Map<String, String> environment = builder.environment();
    spec.environment().forEach(environment::putIfAbsent);
    builder
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()));
    logOffset = Files.exists(log) ? Files.size(log) : 0;
    startedNanos = System.nanoTime();
    restartDue = false;
    process = builder.start();
    return process;
  }

  boolean alive() {
    return process != null && process.isAlive();
  }

  long pid() {
    return process == null ? -1 : process.pid();
  }

  /** Asks for an orderly end. */
  void terminate() {
    if (process != null) {
      // Not Process.destroy: it closes the pipe too, by which the child would take us for dead.
      process.toHandle().destroy();
    }
  }

  void kill() {
    if (process != null) {
      process.destroyForcibly();
    }
  }

  /** Waits for a killed process to be gone: the kernel may take a moment for it. */
  void awaitKilled() {
    if (process != null) {
      process.onExit().completeOnTimeout(process, KILL_SECONDS, TimeUnit.SECONDS).join();
    }
  }

  /** Plans the next life after the pause of the backoff, and returns the pause. */
  Duration planRestart() {
    long now = System.nanoTime();
    Duration pause = backoff.after(Duration.ofNanos(now - startedNanos));
    restartNanos = now + pause.toNanos();
    restartDue = true;
    return pause;
  }

  /** Nanoseconds until the planned restart, at least 0; empty when none is planned. */
  @Nullable Long nanosToRestart() {
    return restartDue ? Math.max(0, restartNanos - System.nanoTime()) : null;
  }

  /**
   * Why this life ended, as its log tells: the line in which the program says so itself, else the
   * last lines.
   */
  String lastWords() {
    ArrayDeque<String> last = new ArrayDeque<>();
    String own = null;
    try (Stream<String> lines = linesOfThisLife()) {
      for (String line : (Iterable<String>) lines::iterator) {
        if (line.startsWith("baton: ")) {
          own = line.substring("baton: ".length());
        }
        last.addLast(line);
        if (last.size() > LAST_LINES) {
          last.removeFirst();
        }
      }
    } catch (IOException | UncheckedIOException e) {
      return "(its log cannot be read: %s)".formatted(e.getMessage());
    }
    return own != null ? own : String.join(System.lineSeparator(), last);
  }

  private Stream<String> linesOfThisLife() throws IOException {
    byte[] all = Files.readAllBytes(log);
    int from = (int) Math.min(logOffset, all.length);
    return new String(all, from, all.length - from, StandardCharsets.UTF_8).lines();
  }

  /** How an exit code reads: the JVM reports death by signal N as 128 + N. */
  static String describeExit(int code) {
    return switch (code) {
      case 128 + 9 -> "killed (SIGKILL)";
      case 128 + 15 -> "ended by SIGTERM";
      case 128 + 11, 128 + 6, 128 + 7, 128 + 4 -> "crashed (signal %d)".formatted(code - 128);
      default -> "exit code " + code;
    };
  }

  static List<SupervisedProcess> all(
      List<ProcessSpec> specs, Launcher launcher, Path logDirectory) {
    return specs.stream().map(spec -> new SupervisedProcess(spec, launcher, logDirectory)).toList();
  }
}
