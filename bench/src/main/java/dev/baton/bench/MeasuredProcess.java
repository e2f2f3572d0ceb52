package dev.baton.bench;

import dev.baton.kvtransfer.ucx.UcxEnvironment;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.ProcessBuilder.Redirect;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A process that takes part in a measurement, with the environment of a worker, its collector and
 * its AOT cache, where this process has one: a main class of this module that takes commands on
 * stdin, a line each, and answers with lines that begin with {@link #ANSWER}. One thread; gone
 * after the close.
 */
public final class MeasuredProcess implements AutoCloseable {

  /** Where such processes listen. */
  public static final String HOST = "127.0.0.1";

  /** Begins the lines that are answers: a log may share the stream. */
  public static final String ANSWER = "> ";

  private final String name;
  private final Process process;
  private final BufferedReader out;
  private final PrintStream in;

  /**
   * Starts it, on this process's class path.
   *
   * @param name for messages
   * @param heap of Java, as in {@code 256m}
   */
  public MeasuredProcess(String name, Class<?> main, String heap, List<String> arguments)
      throws IOException {
    this(name, main, heap, List.of(), arguments);
  }

  /**
   * As above.
   *
   * @param flags of Java, beside this process's own
   */
  public MeasuredProcess(
      String name, Class<?> main, String heap, List<String> flags, List<String> arguments)
      throws IOException {
    this.name = name;
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
            .filter(
                flag ->
                    flag.startsWith("--enable-native")
                        || flag.startsWith("--sun-misc")
                        || flag.startsWith("--add-modules")
                        || flag.startsWith("-XX:+UseG1GC")
                        || flag.startsWith("-XX:AOTCache="))
            .toList());
    command.addAll(flags);
    command.addAll(
        List.of(
            "-Xmx" + heap,
            "-Dbaton.log.level=" + System.getProperty("baton.log.level", "warn"),
            "-cp",
            System.getProperty("java.class.path"),
            main.getName()));
    command.addAll(arguments);
    ProcessBuilder builder = new ProcessBuilder(command).redirectError(Redirect.INHERIT);
    UcxEnvironment.defaults(HOST).forEach(builder.environment()::putIfAbsent);
    process = builder.start();
    out =
        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
    in = new PrintStream(process.getOutputStream(), true, StandardCharsets.UTF_8);
  }

  /** Gives a command. */
  public void say(String line) {
    in.println(line);
  }

  /** Gives a command and waits for the answer. */
  public String ask(String line) throws IOException {
    say(line);
    return answer();
  }

  /**
   * Waits for an answer.
   *
   * @throws IOException the process ended
   */
  public String answer() throws IOException {
    for (String line = out.readLine(); line != null; line = out.readLine()) {
      if (line.startsWith(ANSWER)) {
        return line.substring(ANSWER.length());
      }
    }
    throw new IOException("the %s ended (expected: an answer)".formatted(name));
  }

  @Override
  public void close() {
    process.destroyForcibly();
  }
}
