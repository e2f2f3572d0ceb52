package dev.baton.cli;

import dev.baton.cli.lifecycle.StopSignals;
import dev.baton.router.RouterOptions;
import dev.baton.router.RouterServer;
import dev.baton.router.text.TextModelException;
import java.io.IOException;
import java.util.concurrent.CountDownLatch;

/** The router in the foreground: from the command line to the exit code. */
final class RouterProcess {

  /** An exit that was asked for twice. */
  private static final int STOPPED_AT_ONCE = 143;

  private RouterProcess() {}

  /** Serves until SIGTERM, then lets requests finish; a second SIGTERM ends at once. */
  static int run(RouterCommand command, ProcessFlags process) throws InterruptedException {
    CountDownLatch end = new CountDownLatch(1);
    StopSignals.install(
        end::countDown, () -> Runtime.getRuntime().halt(STOPPED_AT_ONCE), !process.exitWithParent);
    try (RouterServer router = start(options(command).withClusterSecret(command.peers.secret()))) {
      end.await();
    }
    return 0;
  }

  static RouterOptions options(RouterCommand command) {
    RouterOptions options =
        RouterOptions.defaults()
            .withHost(command.host)
            .withPorts(command.port, command.grpcPort)
            .withSplitAbove(command.splitAbove)
            .withVersion(ProgramVersion.text());
    return command.model == null
        ? options
        : options.withModelDirectory(Options.modelDirectory(command.model));
  }

  static RouterServer start(RouterOptions options) {
    try {
      return RouterServer.start(options);
    } catch (IOException | TextModelException e) {
      throw CommandFailure.failed(String.valueOf(e.getMessage()));
    }
  }
}
