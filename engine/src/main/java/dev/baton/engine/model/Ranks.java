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
 * The threads of the ranks: the caller's own for rank 0, a platform thread for each other one,
 * {@code baton-rank-1} and up. One caller at a time has all of them do the same task, and waits.
 *
 * <p>So a worker of one rank hands nothing over between threads: the step thread computes. The
 * others expect the next task for a moment, which in decoding comes at once, before they sleep: a
 * thread that sleeps takes tens of microseconds to wake. They spin only where every rank can have a
 * processor, and soon give theirs to whoever else wants it.
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

  /** Bounds the processor time that a wait burns when the other side is just about to be ready. */
  private static final long SPIN_NANOS = 50_000;

  /** Bounds a wait that gives its processor to others, before it sleeps; a sampler's time. */
  private static final long YIELD_NANOS = 250_000;

  private static final int SPINS_BETWEEN_LOOKS = 16;

  private final List<Ops> ops;
  private final boolean spin;

  /** Of ranks 1 and up. */
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
    this.spin = ops.size() <= Runtime.getRuntime().availableProcessors();
    for (int rank = 1; rank < ops.size(); rank++) {
      int number = rank;
      threads.add(
          Thread.ofPlatform().name("baton-rank-" + rank).daemon().start(() -> loop(number)));
    }
  }

  /**
   * Runs a task on every rank, rank 0 on this thread, and returns when all are done. The first
   * rank's failure is thrown: an EngineException as it is, anything else as the cause of one.
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
    for (int i = 0; i < threads.size(); i++) {
      LockSupport.unpark(threads.get(i));
    }
    run(0);
    awaitAll();
    Failure first = failure.get();
    if (first != null) {
      throw asEngineException(first);
    }
  }

  private void awaitAll() {
    long begun = System.nanoTime();
    boolean expecting = true;
    while (running.get() > 0 && expecting) {
      expecting = pauses(begun);
    }
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
      long begun = System.nanoTime();
      boolean expecting = true;
      while (calls.get() == done && !closed && expecting) {
        expecting = pauses(begun);
      }
      while (calls.get() == done && !closed) {
        LockSupport.park(this);
      }
      if (calls.get() == done) {
        return;
      }
      done = calls.get();
      run(rank);
      if (running.decrementAndGet() == 0) {
        LockSupport.unpark(caller);
      }
    }
  }

  /**
   * Lets a little time pass without sleep.
   *
   * @return whether to look again; else it is time to sleep
   */
  private boolean pauses(long begun) {
    long waited = System.nanoTime() - begun;
    if (spin && waited < SPIN_NANOS) {
      for (int i = 0; i < SPINS_BETWEEN_LOOKS; i++) {
        Thread.onSpinWait();
      }
    } else {
      Thread.yield();
    }
    return waited < YIELD_NANOS;
  }

  private void run(int rank) {
    try {
      task.run(rank);
    } catch (Throwable e) {
      fail(rank, e);
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
