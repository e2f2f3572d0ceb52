package dev.baton.worker.session;

import java.time.Duration;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** Alarms by the system's clock, on one thread, {@code baton-alarms}. */
public final class ThreadAlarms implements Alarms, AutoCloseable {

  private final ScheduledThreadPoolExecutor executor;

  public ThreadAlarms() {
    executor =
        new ScheduledThreadPoolExecutor(
            1, Thread.ofPlatform().name("baton-alarms").daemon().factory());
    // Most alarms are cancelled; they must not hold their sessions until their time.
    executor.setRemoveOnCancelPolicy(true);
    executor.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
  }

  @Override
  public Alarm after(Duration delay, Runnable action) {
    try {
      ScheduledFuture<?> future = executor.schedule(action, delay.toNanos(), TimeUnit.NANOSECONDS);
      return () -> future.cancel(false);
    } catch (RejectedExecutionException e) {
      // Closed: the worker is ending and stops its sessions without deadlines.
      return () -> {};
    }
  }

  @Override
  public void close() {
    executor.shutdown();
  }
}
