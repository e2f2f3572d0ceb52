package dev.baton.simulation.clock;

import java.util.concurrent.Executor;

/**
 * A thread of a process: runs what it is given one after another, in order, each a little later.
 */
public final class Lane implements Executor {

  private final Process process;
  private long free;

  public Lane(Process process) {
    this.process = process;
  }

  @Override
  public void execute(Runnable task) {
    free = Math.max(free, process.instant() + process.delay());
    process.at(
        free,
        () -> {
          task.run();
          free = Math.max(free, process.instant());
        });
  }
}
