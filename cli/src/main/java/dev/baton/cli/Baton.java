package dev.baton.cli;

import dev.baton.worker.wire.HostPort;
import java.io.PrintWriter;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ParameterException;

/** The {@code baton} command line. */
@Command(
    name = "baton",
    mixinStandardHelpOptions = true,
    synopsisSubcommandLabel = "COMMAND",
    description = "Serves large language models with prefill and decode on separate workers.",
    footer = {
      "",
      "./baton test [MODULE] runs the tests, ./baton build only builds.",
      "./baton COMMAND --help tells the options of a command."
    },
    subcommands = {
      UpCommand.class,
      RouterCommand.class,
      PrefillCommand.class,
      DecodeCommand.class,
      GenerateCommand.class,
      DrainCommand.class,
      RoleCommand.class,
      BenchCommand.class,
      VerifyCommand.class,
      SimulateCommand.class,
      TopCommand.class,
      VersionCommand.class,
      TrainCommand.class,
      CommandLine.HelpCommand.class
    })
public final class Baton implements Runnable {

  public static void main(String[] args) {
    int code = commandLine().execute(args);
    // Exit also ends libraries' non-daemon threads; a command that served has closed what it owns.
    System.exit(code);
  }

  /** The parser with all commands; errors are one line, exit codes 0, 1 (failed) and 2 (usage). */
  static CommandLine commandLine() {
    CommandLine commandLine = new CommandLine(new Baton());
    tellVersion(commandLine);
    return commandLine
        .setCaseInsensitiveEnumValuesAllowed(true)
        .setAbbreviatedOptionsAllowed(false)
        .registerConverter(ByteSize.class, ByteSize::parse)
        .registerConverter(HostPort.class, HostPort::parse)
        .setParameterExceptionHandler(Baton::explainUsage)
        .setExecutionExceptionHandler(Baton::explainFailure);
  }

  @Override
  public void run() {
    commandLine().usage(System.out);
  }

  private static void tellVersion(CommandLine command) {
    command.getCommandSpec().version("baton " + ProgramVersion.text());
    command.getSubcommands().values().forEach(Baton::tellVersion);
  }

  private static int explainUsage(ParameterException failure, String[] arguments) {
    PrintWriter err = failure.getCommandLine().getErr();
    err.println("baton: " + oneLine(String.valueOf(failure.getMessage())));
    err.println("Try: ./" + failure.getCommandLine().getCommandSpec().qualifiedName() + " --help");
    return 2;
  }

  private static int explainFailure(
      Exception failure, CommandLine command, CommandLine.ParseResult parsed) throws Exception {
    if (failure instanceof CommandFailure known) {
      command.getErr().println("baton: " + known.getMessage());
      return known.exitCode();
    }
    // A fault of ours: the trace helps whoever mends it, the last line whoever sees it.
    failure.printStackTrace(command.getErr());
    command.getErr().println("baton: internal error: " + failure);
    return 1;
  }

  private static String oneLine(String message) {
    return message.lines().findFirst().orElse(message);
  }
}
