package dev.baton.cli.supervisor;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * How a further process of this program that serves is started: by the same JVM and class path as
 * this one.
 *
 * @param command executable and JVM flags, up to and with the main class
 */
public record Launcher(List<String> command) {

  private static final String MAIN_CLASS = "dev.baton.cli.Baton";

  public Launcher {
    command = List.copyOf(command);
  }

  /**
   * From {@code BATON_RUNTIME} (the runtime directory that {@code ./baton} made and this process
   * runs from) or, without it, from this process's class path.
   */
  public static Launcher ofThisProcess(Map<String, String> environment) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    String runtime = environment.get("BATON_RUNTIME");
    if (runtime != null) {
      command.add("@" + Path.of(runtime, "java.args"));
      command.add("@" + Path.of(runtime, "server.args"));
    } else {
      command.add("--enable-native-access=ALL-UNNAMED");
      command.add("--sun-misc-unsafe-memory-access=allow");
      command.add("-cp");
      command.add(System.getProperty("java.class.path"));
    }
    String more = environment.getOrDefault("BATON_JAVA_OPTS", "").trim();
    if (!more.isEmpty()) {
      command.addAll(List.of(more.split("\\s+")));
    }
    command.add(MAIN_CLASS);
    return new Launcher(command);
  }

  List<String> with(List<String> arguments) {
    List<String> whole = new ArrayList<>(command);
    whole.addAll(arguments);
    return whole;
  }
}
