package dev.baton.cli;

/** The router in the foreground. */
final class RouterProcess {

  private RouterProcess() {}

  static int run(RouterCommand command, ProcessFlags process) throws InterruptedException {
    throw CommandFailure.failed("router: not linked (expected: linked)");
  }
}
