package dev.baton.worker.step;

import dev.baton.engine.Engine;
import java.time.Duration;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The step thread: owns the engine and everything that is said to be confined to it. Others hand it
 * commands with {@link #post}; it receives them between two steps, runs a step, settles what the
 * step brought, and rests when there is nothing to do.
 *
 * <p>The queue of commands has no bound of its own: every command belongs to an open session, a
 * session posts a handful in its life, and the table of sessions is bounded.
 *
 * <p><b>Failure.</b> When a step, a command or the integrity check throws, the state of the engine
 * is unknown: the loop tells its owner once and runs no step again. It still receives commands, so
 * that sessions can leave and the process can end in order.
 */
public final class StepLoop implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(StepLoop.class);

  /** Bounds the cost of recounting blocks under a load that goes idle many times a second. */
  private static final long INTEGRITY_NANOS = Duration.ofSeconds(1).toNanos();

  private final Engine engine;
  private final Outbox outbox;
  private final Consumer<Throwable> onFailure;
  private final LongSupplier nanoTime;
  private final ConcurrentLinkedQueue<Runnable> commands = new ConcurrentLinkedQueue<>();
  private final Thread thread;

  private volatile boolean closing;
  private volatile boolean failed;
  private boolean unchecked;
  private long nextCheck;

  /**
   * @param outbox flushed by the loop
   * @param onFailure hears, on the step thread and once, why no step will run again
   * @param nanoTime a clock that only rises, nanoseconds
   */
  public StepLoop(
      Engine engine, Outbox outbox, Consumer<Throwable> onFailure, LongSupplier nanoTime) {
    this.engine = engine;
    this.outbox = outbox;
    this.onFailure = onFailure;
    this.nanoTime = nanoTime;
    this.nextCheck = nanoTime.getAsLong();
    this.thread = Thread.ofPlatform().name("baton-step").unstarted(this::run);
  }

  public void start() {
    thread.start();
  }

  /** Runs {@code command} on the step thread, after all earlier ones. Any thread; never blocks. */
  public void post(Runnable command) {
    commands.add(command);
    LockSupport.unpark(thread);
  }

  /** No step will run again. */
  public boolean failed() {
    return failed;
  }

  /** Runs what was posted, closes the engine on the step thread, waits for the thread's end. */
  @Override
  public void close() {
    closing = true;
    LockSupport.unpark(thread);
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void run() {
    while (!closing) {
      receive();
      boolean worked = !failed && step();
      settle();
      if (!worked) {
        rest();
      }
    }
    receive();
    closeEngine();
    receive();
    settle();
  }

  private void receive() {
    for (Runnable command = commands.poll(); command != null; command = commands.poll()) {
      try {
        command.run();
      } catch (RuntimeException | Error e) {
        fail("command", e);
      }
    }
    // What a command answers, such as a reservation, must not wait for the step.
    settle();
  }

  private boolean step() {
    try {
      boolean worked = engine.step();
      unchecked |= worked;
      return worked;
    } catch (RuntimeException | Error e) {
      fail("step", e);
      return false;
    }
  }

  private void settle() {
    outbox.flush();
  }

  private void rest() {
    if (failed || !unchecked) {
      LockSupport.park(this);
      return;
    }
    long early = nextCheck - nanoTime.getAsLong();
    if (early > 0) {
      LockSupport.parkNanos(this, early);
      return;
    }
    try {
      engine.checkIntegrity();
    } catch (RuntimeException | Error e) {
      fail("integrity", e);
    }
    unchecked = false;
    nextCheck = nanoTime.getAsLong() + INTEGRITY_NANOS;
  }

  private void fail(String what, Throwable cause) {
    if (failed) {
      log.warn("{} failed after the step loop had stopped", what, cause);
      return;
    }
    failed = true;
    log.error("{} failed; this worker runs no step again", what, cause);
    onFailure.accept(cause);
  }

  private void closeEngine() {
    try {
      engine.close();
    } catch (RuntimeException e) {
      log.warn("engine did not close in order", e);
    }
  }
}
