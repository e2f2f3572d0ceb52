package dev.baton.cli.e2e;

import dev.baton.cli.Repository;
import dev.baton.peer.ClusterSecret;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * One {@code baton} process of a test, its output in files. Runs {@code ./baton} on the runtime
 * that the build made when the system property {@code baton.runtime} names it, else the test's own
 * class path. Its settings and logs are under {@code cli/target}, not in the home of whoever runs
 * the tests, and the cluster's secret is there before the first process asks for it.
 */
final class BatonProcess {

  private static final Path HOME = Repository.root().resolve("cli/target/home");

  static {
    ClusterSecret.readOrMake(HOME.resolve("config/baton/cluster-secret"), note -> {});
  }

  private final Process process;
  private final Path output;
  private final Path errors;

  private BatonProcess(Process process, Path output, Path errors) {
    this.process = process;
    this.output = output;
    this.errors = errors;
  }

  static BatonProcess start(List<String> arguments) {
    return start(arguments, Map.of());
  }

  static BatonProcess start(List<String> arguments, Map<String, String> environment) {
    return startCommand(command(arguments), environment);
  }

  /** A program of the tests' own, on the tests' class path. */
  static BatonProcess startClass(
      Class<?> program, List<String> arguments, Map<String, String> environment) {
    List<String> command = java(program.getName());
    command.addAll(arguments);
    return startCommand(command, environment);
  }

  private static BatonProcess startCommand(List<String> command, Map<String, String> environment) {
    try {
      Path output = Files.createTempFile("baton-e2e-", ".out");
      Path errors = Files.createTempFile("baton-e2e-", ".err");
      output.toFile().deleteOnExit();
      errors.toFile().deleteOnExit();
      ProcessBuilder builder = new ProcessBuilder(command);
      String runtime = System.getProperty("baton.runtime");
      if (runtime != null) {
        builder.environment().put("BATON_RUNTIME", runtime);
      }
      builder.environment().put("BATON_HOME", Repository.root().toString());
      builder.environment().put("XDG_CONFIG_HOME", HOME.resolve("config").toString());
      builder.environment().put("XDG_STATE_HOME", HOME.resolve("state").toString());
      builder.environment().putAll(environment);
      builder.redirectOutput(output.toFile()).redirectError(errors.toFile());
      return new BatonProcess(builder.start(), output, errors);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static List<String> command(List<String> arguments) {
    List<String> command =
        System.getProperty("baton.runtime") != null
            ? new ArrayList<>(List.of(Repository.root().resolve("baton").toString()))
            : java("dev.baton.cli.Baton");
    command.addAll(arguments);
    return command;
  }

  private static List<String> java(String program) {
    return new ArrayList<>(
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            "-cp",
            System.getProperty("java.class.path"),
            program));
  }

  /** Runs a command to its end. */
  static Outcome run(String... arguments) {
    BatonProcess process = start(List.of(arguments));
    try {
      int code = process.await();
      return new Outcome(code, process.output(), process.errors());
    } finally {
      process.kill();
    }
  }

  /** What a command printed, and its exit code. */
  record Outcome(int code, String output, String errors) {}

  ProcessHandle handle() {
    return process.toHandle();
  }

  boolean alive() {
    return process.isAlive();
  }

  String output() {
    return read(output);
  }

  String errors() {
    return read(errors);
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  void terminate() {
    handle().destroy();
  }

  void kill() {
    handle().destroyForcibly();
  }

  /** The exit code; fails when the process does not end, however slow the machine. */
  int await() {
    return await(Deadline.AMPLE);
  }

  /** The exit code; fails when the process does not end in time. */
  int await(Duration limit) {
    try {
      if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS)) {
        throw new AssertionError("not ended after %s: %s".formatted(limit, errors()));
      }
      return process.exitValue();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(e);
    }
  }
}
