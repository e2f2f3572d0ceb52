package dev.baton.cli;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

/** {@code baton version}: what a report of a fault should begin with. */
@Command(
    name = "version",
    mixinStandardHelpOptions = true,
    description = "Prints the versions of Baton, the JDK, UCX, and the CPU's instruction tier.")
final class VersionCommand implements Callable<Integer> {

  @Override
  public Integer call() {
    String commit = System.getenv().getOrDefault("BATON_COMMIT", "");
    System.out.println("baton " + ProgramVersion.text() + (commit.isEmpty() ? "" : " " + commit));
    System.out.println(
        "java  %s (%s)"
            .formatted(
                System.getProperty("java.runtime.version"), System.getProperty("java.vendor")));
    System.out.println("cpu   " + Platform.cpuTier());
    System.out.println("ucx   " + Platform.ucxVersion());
    return 0;
  }
}
