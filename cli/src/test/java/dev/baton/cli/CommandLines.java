package dev.baton.cli;

import java.util.List;

/** The parser of this program, for tests of other packages. */
public final class CommandLines {

  private CommandLines() {}

  /** Throws when the program does not know a command or an option of {@code arguments}. */
  public static void parse(List<String> arguments) {
    Baton.commandLine().parseArgs(arguments.toArray(String[]::new));
  }

  /** How long a worker drains by default. */
  public static int drainGraceSeconds() {
    return new WorkerFlags().drainGrace;
  }
}
