package dev.baton.simulation.clock;

import java.util.List;
import java.util.concurrent.AbstractExecutorService;
import java.util.concurrent.Callable;
import java.util.concurrent.Delayed;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A {@link Lane} as the executor services of the JDK, for production code that wants one: one
 * thread, tasks in order, delays by the process's clock. After the shutdown nothing runs.
 */
public final class LaneTimer extends AbstractExecutorService implements ScheduledExecutorService {

  private final Process process;
  private final Lane lane;
  private boolean shutdown;

  public LaneTimer(Process process) {
    this.process = process;
    this.lane = new Lane(process);
  }

  @Override
  public void execute(Runnable task) {
    requireOpen();
    lane.execute(() -> runUnlessShut(task));
  }

  private void runUnlessShut(Runnable task) {
    if (!shutdown) {
      task.run();
    }
  }

  private void requireOpen() {
    if (shutdown) {
      throw new RejectedExecutionException("the timer is shut down");
    }
  }

  @Override
  public ScheduledFuture<?> schedule(Runnable command, long delay, TimeUnit unit) {
    requireOpen();
    Task task = new Task(command, 0);
    task.set(unit.toNanos(delay));
    return task;
  }

  @Override
  public <V> ScheduledFuture<V> schedule(Callable<V> callable, long delay, TimeUnit unit) {
    throw new UnsupportedOperationException("schedule with a result (expected: a Runnable)");
  }

  @Override
  public ScheduledFuture<?> scheduleAtFixedRate(
      Runnable command, long initialDelay, long period, TimeUnit unit) {
    return scheduleWithFixedDelay(command, initialDelay, period, unit);
  }

  @Override
  public ScheduledFuture<?> scheduleWithFixedDelay(
      Runnable command, long initialDelay, long delay, TimeUnit unit) {
    requireOpen();
    Task task = new Task(command, unit.toNanos(delay));
    task.set(unit.toNanos(initialDelay));
    return task;
  }

  @Override
  public void shutdown() {
    shutdown = true;
  }

  @Override
  public List<Runnable> shutdownNow() {
    shutdown = true;
    return List.of();
  }

  @Override
  public boolean isShutdown() {
    return shutdown;
  }

  @Override
  public boolean isTerminated() {
    return shutdown;
  }

  @Override
  public boolean awaitTermination(long timeout, TimeUnit unit) {
    return shutdown;
  }

  /** One delayed or repeated task. What it throws is a fault of the simulated program. */
  private final class Task implements ScheduledFuture<Object> {
    private final Runnable command;
    private final long period;
    private VirtualTime.@Nullable Event event;
    private boolean cancelled;
    private boolean done;

    Task(Runnable command, long period) {
      this.command = command;
      this.period = period;
    }

    void set(long delay) {
      event = process.after(delay, () -> lane.execute(this::due));
    }

    private void due() {
      if (shutdown || cancelled) {
        return;
      }
      done = period == 0;
      command.run();
      if (period > 0 && !cancelled) {
        set(period);
      }
    }

    @Override
    public boolean cancel(boolean mayInterrupt) {
      if (done || cancelled) {
        return false;
      }
      cancelled = true;
      if (event != null) {
        event.cancel();
      }
      return true;
    }

    @Override
    public boolean isCancelled() {
      return cancelled;
    }

    @Override
    public boolean isDone() {
      return done || cancelled;
    }

    @Override
    public Object get() {
      throw new UnsupportedOperationException("waiting (expected: nobody waits in a simulation)");
    }

    @Override
    public Object get(long timeout, TimeUnit unit) {
      return get();
    }

    @Override
    public long getDelay(TimeUnit unit) {
      return 0;
    }

    @Override
    public int compareTo(Delayed other) {
      return 0;
    }
  }
}
