package dev.baton.cli;

/**
 * What ends a command with one line for a person and no stack trace.
 *
 * <p>Exit code 2 says that the command line asks for something wrong, 1 that it could not be done.
 */
public final class CommandFailure extends RuntimeException {

  private final int exitCode;

  private CommandFailure(int exitCode, String message) {
    super(message);
    this.exitCode = exitCode;
  }

  /** The command line is wrong; {@code message} reads {@code name: value (expected: ...)}. */
  public static CommandFailure usage(String message) {
    return new CommandFailure(2, message);
  }

  /** The command line is right, but the machine or a peer does not let it happen. */
  public static CommandFailure failed(String message) {
    return new CommandFailure(1, message);
  }

  public int exitCode() {
    return exitCode;
  }
}
