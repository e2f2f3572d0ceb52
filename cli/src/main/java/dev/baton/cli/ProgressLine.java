package dev.baton.cli;

import java.io.PrintStream;

/**
 * What a long command is at: on a terminal one line that is written over, elsewhere one line each,
 * after the command's name. Used by the command's thread.
 */
final class ProgressLine {
  private final String command;
  private final PrintStream out;
  private final boolean terminal = System.console() != null && System.console().isTerminal();

  ProgressLine(String command, PrintStream out) {
    this.command = command;
    this.out = out;
  }

  void clear() {
    if (terminal) {
      out.print("\r\033[K");
      out.flush();
    }
  }

  void show(String line) {
    if (terminal) {
      out.print("\r\033[K" + line);
      out.flush();
    } else {
      out.println(command + ": " + line);
    }
  }

  /** The table is the output; the log's first lines would stand in it. */
  static void quietLog() {
    if (System.getProperty("baton.log.level") == null) {
      System.setProperty("baton.log.level", "warn");
    }
  }
}
