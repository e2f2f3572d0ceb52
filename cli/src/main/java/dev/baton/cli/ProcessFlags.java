package dev.baton.cli;

import dev.baton.cli.lifecycle.ParentWatch;
import java.util.Locale;
import org.slf4j.bridge.SLF4JBridgeHandler;
import picocli.CommandLine.Option;

/** Options of every process that serves: router, prefill, decode. */
final class ProcessFlags {

  /** Values of {@code --log-level}. */
  enum LogLevel {
    ERROR,
    WARN,
    INFO,
    DEBUG,
    TRACE
  }

  @Option(
      names = "--log-level",
      paramLabel = "LEVEL",
      defaultValue = "${env:BATON_LOG:-info}",
      description = "error, warn, info, debug or trace. Default: BATON_LOG, else info.")
  LogLevel logLevel = LogLevel.INFO;

  @Option(names = "--exit-with-parent", hidden = true)
  boolean exitWithParent;

  /**
   * Before the first logger is made: logback reads the level once. What libraries say through the
   * JDK's own logging, as gRPC does, goes to the same log.
   */
  void apply() {
    System.setProperty("baton.log.level", logLevel.name().toLowerCase(Locale.ROOT));
    SLF4JBridgeHandler.removeHandlersForRootLogger();
    SLF4JBridgeHandler.install();
    if (exitWithParent) {
      ParentWatch.start(System.in);
    }
  }
}
