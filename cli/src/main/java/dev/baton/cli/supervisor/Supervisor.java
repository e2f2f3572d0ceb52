package dev.baton.cli.supervisor;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Runs a system's processes until it is told to stop.
 *
 * <p>One loop on the thread that calls {@link #run} owns all state; signals and deaths only put
 * events into its queue. While the system starts, any death ends it; once ready, what dies is
 * started again after a {@link Backoff}, unless it was asked to end. Stopping goes from the front
 * to the back, router first, so that requests under way still find their workers: SIGTERM, and
 * SIGKILL when the grace is over.
 */
public final class Supervisor {

  /** Between two looks at readiness; small against the three seconds that a start may take. */
  private static final long POLL_MILLIS = 20;

  private enum State {
    STARTING,
    READY
  }

  private sealed interface Event {
    record Died(SupervisedProcess process, Process life) implements Event {}

    record StopAsked() implements Event {}

    record StopAtOnceAsked() implements Event {}
  }

  private final List<SupervisedProcess> processes;
  private final Readiness readiness;
  private final Duration startTimeout;
  private final Duration grace;
  private final PrintStream messages;
  private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();
  private State state = State.STARTING;

  /**
   * @param specs in the order in which they stop: the router before the workers
   * @param startTimeout longest time to readiness
   * @param grace time from SIGTERM to SIGKILL
   * @param messages where deaths and restarts are told
   */
  public Supervisor(
      List<ProcessSpec> specs,
      Launcher launcher,
      Path logDirectory,
      Readiness readiness,
      Duration startTimeout,
      Duration grace,
      PrintStream messages) {
    this.processes = SupervisedProcess.all(specs, launcher, logDirectory);
    this.readiness = readiness;
    this.startTimeout = startTimeout;
    this.grace = grace;
    this.messages = messages;
  }

  /** Asks {@link #run} to stop everything in order. Any thread. */
  public void stop() {
    events.add(new Event.StopAsked());
  }

  /** Asks {@link #run} to kill everything now. Any thread. */
  public void stopAtOnce() {
    events.add(new Event.StopAtOnceAsked());
  }

  /**
   * Starts everything and stays until all of it has ended.
   *
   * @param onReady runs once, when the system serves requests
   * @return the exit code: 0 after a stop that was asked for, 1 when the start failed
   */
  public int run(Runnable onReady) throws InterruptedException {
    long deadline = System.nanoTime() + startTimeout.toNanos();
    try {
      for (SupervisedProcess process : processes) {
        start(process);
      }
      while (true) {
        switch (events.poll(pollNanos(), TimeUnit.NANOSECONDS)) {
          case null -> {}
          case Event.Died died when state == State.STARTING -> {
            return failStart(died.process(), died.life());
          }
          case Event.Died died -> settleDeath(died.process(), died.life());
          case Event.StopAsked _ -> {
            stopInOrder();
            return 0;
          }
          case Event.StopAtOnceAsked _ -> {
            return 0;
          }
        }
        if (state == State.STARTING && readiness.ready()) {
          state = State.READY;
          onReady.run();
        } else if (state == State.STARTING && System.nanoTime() > deadline) {
          messages.println(
              "baton: not ready after %d s (see %s)"
                  .formatted(startTimeout.toSeconds(), processes.getFirst().log().getParent()));
          return 1;
        }
        restartDue();
      }
    } catch (IOException e) {
      messages.println("baton: cannot start a process: " + e.getMessage());
      return 1;
    } finally {
      killAll();
    }
  }

  private void start(SupervisedProcess process) throws IOException {
    Process life = process.start();
    life.onExit().thenAccept(ended -> events.add(new Event.Died(process, ended)));
  }

  private long pollNanos() {
    long nanos = TimeUnit.MILLISECONDS.toNanos(state == State.STARTING ? POLL_MILLIS : 60_000);
    for (SupervisedProcess process : processes) {
      Long restart = process.nanosToRestart();
      if (restart != null) {
        nanos = Math.min(nanos, restart);
      }
    }
    return nanos;
  }

  private int failStart(SupervisedProcess process, Process life) {
    messages.println(
        "baton: %s did not start (%s): %s"
            .formatted(
                process.name(),
                SupervisedProcess.describeExit(life.exitValue()),
                process.lastWords()));
    messages.println("baton: its log: " + process.log());
    return 1;
  }

  /** What ended well was asked to, by a SIGTERM from outside; everything else lives again. */
  private void settleDeath(SupervisedProcess process, Process life) {
    if (life.exitValue() == 0) {
      messages.println(
          "baton: %s (pid %d) drained and ended".formatted(process.name(), life.pid()));
      return;
    }
    Duration pause = process.planRestart();
    messages.println(
        "baton: %s (pid %d) died: %s; starting it again in %d ms (log: %s)"
            .formatted(
                process.name(),
                life.pid(),
                SupervisedProcess.describeExit(life.exitValue()),
                pause.toMillis(),
                process.log()));
  }

  private void restartDue() throws IOException {
    for (SupervisedProcess process : processes) {
      Long restart = process.nanosToRestart();
      if (restart != null && restart == 0) {
        start(process);
        messages.println(
            "baton: %s started again (pid %d)".formatted(process.name(), process.pid()));
      }
    }
  }

  private void stopInOrder() throws InterruptedException {
    long deadline = System.nanoTime() + grace.toNanos();
    List<SupervisedProcess> front = processes.subList(0, 1);
    List<SupervisedProcess> back = processes.subList(1, processes.size());
    for (List<SupervisedProcess> group : List.of(front, back)) {
      group.forEach(SupervisedProcess::terminate);
      if (!awaitEnd(group, deadline)) {
        return;
      }
    }
  }

  /** False when the deadline passed or an end at once was asked for. */
  private boolean awaitEnd(List<SupervisedProcess> group, long deadline)
      throws InterruptedException {
    while (group.stream().anyMatch(SupervisedProcess::alive)) {
      long left = deadline - System.nanoTime();
      if (left <= 0) {
        List<String> late = new ArrayList<>();
        group.stream().filter(SupervisedProcess::alive).forEach(p -> late.add(p.name()));
        messages.println(
            "baton: %s did not end within %d s; killed"
                .formatted(String.join(", ", late), grace.toSeconds()));
        return false;
      }
      if (events.poll(left, TimeUnit.NANOSECONDS) instanceof Event.StopAtOnceAsked) {
        return false;
      }
    }
    return true;
  }

  private void killAll() {
    processes.forEach(SupervisedProcess::kill);
    processes.forEach(SupervisedProcess::awaitKilled);
  }
}
