package dev.baton.engine.model;

import dev.baton.device.Ops;
import dev.baton.device.OutOfDeviceMemoryException;
import dev.baton.engine.EngineException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * One platform thread per rank, {@code baton-rank-0} and up, parked between tasks. One caller
 * thread at a time hands all of them the same task and waits.
 *
 * <p>A rank that throws aborts the collectives of the others, so that all come back; after that the
 * ranks do not run again.
 */
final class Ranks implements AutoCloseable {

  /** What every rank does at a call of {@link #runAll}. */
  interface Task {
    void run(int rank);
  }

  private static final Task NOTHING = rank -> {};

  private final List<Ops> ops;
  private final List<Thread> threads = new ArrayList<>();
  private final AtomicLong calls = new AtomicLong();
  private final AtomicInteger running = new AtomicInteger();
  private final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();

  /** Read by the ranks after {@link #calls} has risen. */
  private Task task = NOTHING;

  private volatile @Nullable Thread caller;
  private volatile boolean closed;

  Ranks(List<Ops> ops) {
    this.ops = ops;
    for (int rank = 0; rank < ops.size(); rank++) {
      int number = rank;
      threads.add(
          Thread.ofPlatform().name("baton-rank-" + rank).daemon().start(() -> loop(number)));
    }
  }

  /**
   * Runs a task on every rank and returns when all are done. The first rank's failure is thrown: an
   * EngineException as it is, anything else as the cause of one.
   */
  void runAll(Task next) {
    Throwable earlier = failure.get();
    if (closed || earlier != null) {
      throw new EngineException(
          EngineException.Kind.INTERNAL,
          closed ? "ranks: closed" : "ranks: unusable after a failure: " + earlier,
          earlier);
    }
    task = next;
    caller = Thread.currentThread();
    running.set(threads.size());
    // Publishes the task.
    calls.incrementAndGet();
    threads.forEach(LockSupport::unpark);
    awaitAll();
    Throwable cause = failure.get();
    if (cause != null) {
      throw asEngineException(cause);
    }
  }

  private void awaitAll() {
    boolean interrupted = false;
    while (running.get() > 0) {
      LockSupport.park(this);
      // An interrupt must not turn the wait into a spin, nor leave ranks behind in the batch.
      interrupted |= Thread.interrupted();
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void loop(int rank) {
    long done = 0;
    while (true) {
      while (calls.get() == done && !closed) {
        LockSupport.park(this);
      }
      if (calls.get() == done) {
        return;
      }
      done = calls.get();
      try {
        task.run(rank);
      } catch (Throwable e) {
        fail(rank, e);
      }
      if (running.decrementAndGet() == 0) {
        LockSupport.unpark(caller);
      }
    }
  }

  private void fail(int rank, Throwable cause) {
    // The first is the reason; the others, which the abort wakes, only follow from it.
    if (failure.compareAndSet(null, cause)) {
      ops.get(rank).abort(cause);
    }
  }

  private static EngineException asEngineException(Throwable cause) {
    return switch (cause) {
      case EngineException e -> e;
      case OutOfDeviceMemoryException e ->
          new EngineException(EngineException.Kind.NO_CAPACITY, String.valueOf(e.getMessage()), e);
      default ->
          new EngineException(EngineException.Kind.INTERNAL, "a rank failed: " + cause, cause);
    };
  }

  /** Lets a task in progress end, then stops and joins the threads. */
  @Override
  public void close() {
    closed = true;
    boolean interrupted = false;
    for (Thread thread : threads) {
      LockSupport.unpark(thread);
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
