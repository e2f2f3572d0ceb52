package dev.baton.worker.session;

import java.time.Duration;

/** Runs things later. Time is handed in, so that tests and the simulation own it. */
public interface Alarms {

  /** An alarm that has been set. */
  interface Alarm {
    /** Any thread; no effect when it has gone off. */
    void cancel();
  }

  /**
   * Sets an alarm. Any thread.
   *
   * @param action runs on a thread of the alarms; must not block
   */
  Alarm after(Duration delay, Runnable action);
}
