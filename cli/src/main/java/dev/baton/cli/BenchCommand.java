package dev.baton.cli;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code baton bench}: measurements; each is a subcommand. */
@Command(
    name = "bench",
    mixinStandardHelpOptions = true,
    synopsisSubcommandLabel = "COMMAND",
    description = "Measures.",
    subcommands = {
      BenchEngineCommand.class,
      BenchQualityCommand.class,
      BenchLoadCommand.class,
      BenchHandoffCommand.class,
      BenchSplitCommand.class
    })
final class BenchCommand implements Runnable {

  @Spec CommandSpec spec = CommandSpec.create();

  @Override
  public void run() {
    spec.commandLine().usage(System.out);
  }
}
