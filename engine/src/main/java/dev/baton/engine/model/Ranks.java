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

  private record Failure(int rank, Throwable cause) {}

  /** What every rank does at a call of {@link #runAll}. */
  interface Task {
    void run(int rank);
  }

  private static final Task NOTHING = rank -> {};

  private final List<Ops> ops;
  private final List<Thread> threads = new ArrayList<>();
  private final AtomicLong calls = new AtomicLong();
  private final AtomicInteger running = new AtomicInteger();
  private final AtomicReference<@Nullable Failure> failure = new AtomicReference<>();

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
  synchronized void runAll(Task next) {
    Failure earlier = failure.get();
    if (earlier != null) {
      throw new EngineException(
          EngineException.Kind.INTERNAL, "ranks: unusable since " + name(earlier), earlier.cause);
    }
    if (closed) {
      throw new EngineException(EngineException.Kind.INTERNAL, "ranks: closed");
    }
    task = next;
    caller = Thread.currentThread();
    running.set(threads.size());
    // Publishes the task.
    calls.incrementAndGet();
    threads.forEach(LockSupport::unpark);
    awaitAll();
    Failure first = failure.get();
    if (first != null) {
      throw asEngineException(first);
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
    if (failure.compareAndSet(null, new Failure(rank, cause))) {
      ops.get(rank).abort(cause);
    }
  }

  private EngineException asEngineException(Failure first) {
    return switch (first.cause) {
      case EngineException e -> e;
      case OutOfDeviceMemoryException e ->
          new EngineException(EngineException.Kind.NO_CAPACITY, String.valueOf(e.getMessage()), e);
      default -> new EngineException(EngineException.Kind.INTERNAL, name(first), first.cause);
    };
  }

  private String name(Failure first) {
    return "rank %d of %d failed: %s".formatted(first.rank, ops.size(), first.cause);
  }

  /** Lets a task in progress end, then stops and joins the threads. */
  @Override
  public synchronized void close() {
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
