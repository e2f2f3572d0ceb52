package dev.baton.simulation.clock;

import dev.baton.worker.session.Alarms;
import java.time.Duration;

/** A worker's alarms by the clock of its process. */
public final class LaneAlarms implements Alarms {

  private final Process process;

  public LaneAlarms(Process process) {
    this.process = process;
  }

  @Override
  public Alarm after(Duration delay, Runnable action) {
    return process.after(delay.toNanos() + process.delay(), action)::cancel;
  }
}
