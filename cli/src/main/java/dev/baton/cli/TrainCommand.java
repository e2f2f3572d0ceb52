package dev.baton.cli;

import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * {@code baton train}: a short life of a whole system in one process, run by the build so that the
 * JVM can write down which classes and methods the real processes will need (its AOT cache).
 */
@Command(
    name = "train",
    hidden = true,
    mixinStandardHelpOptions = true,
    description = "Runs all roles once, for the AOT cache.")
final class TrainCommand implements Callable<Integer> {

  @Option(names = "--model", paramLabel = "DIR")
  @Nullable Path model;

  @Option(names = "--aggregated", description = "Without a hand-off, for a machine without UCX.")
  boolean aggregated;

  @Override
  public Integer call() throws Exception {
    TrainingRun.run(Options.modelDirectory(model), aggregated);
    return 0;
  }
}
