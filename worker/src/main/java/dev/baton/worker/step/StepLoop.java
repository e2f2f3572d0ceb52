package dev.baton.worker.step;

import dev.baton.engine.Engine;
import java.time.Duration;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What the step thread does, turn by turn: it owns the engine and everything that is said to be
 * confined to it. Others hand it commands with {@link #post}; a turn receives them, runs a step,
 * settles what the step brought, and says how long the loop may rest. The loop has no thread of its
 * own; {@link StepThread} gives it one, the simulation another.
 *
 * <p>The queue of commands has no bound of its own: every command belongs to an open session, a
 * session posts a handful in its life, and the table of sessions is bounded.
 *
 * <p><b>Failure.</b> When a step, a command or the integrity check throws, the state of the engine
 * is unknown: the loop tells its owner once and runs no step again. It still receives commands, so
 * that sessions can leave and the process can end in order.
 */
public final class StepLoop {

  /** Of {@link #turn}: nothing to do until a command is posted. */
  public static final long UNTIL_POSTED = Long.MAX_VALUE;

  private static final Logger log = LoggerFactory.getLogger(StepLoop.class);

  /** Bounds the cost of recounting blocks under a load that goes idle many times a second. */
  private static final long INTEGRITY_NANOS = Duration.ofSeconds(1).toNanos();

  private final Engine engine;
  private final Outbox outbox;
  private final Consumer<Throwable> onFailure;
  private final LongSupplier nanoTime;
  private final Runnable wake;
  private final ConcurrentLinkedQueue<Runnable> commands = new ConcurrentLinkedQueue<>();

  private volatile boolean failed;
  private boolean unchecked;
  private long nextCheck;

  /**
   * @param outbox flushed by the loop
   * @param onFailure hears, on the step thread and once, why no step will run again
   * @param nanoTime a clock that only rises, nanoseconds
   * @param wake ends the rest of whoever runs the turns; called on any thread
   */
  public StepLoop(
      Engine engine,
      Outbox outbox,
      Consumer<Throwable> onFailure,
      LongSupplier nanoTime,
      Runnable wake) {
    this.engine = engine;
    this.outbox = outbox;
    this.onFailure = onFailure;
    this.nanoTime = nanoTime;
    this.wake = wake;
    this.nextCheck = nanoTime.getAsLong();
  }

  /** Runs {@code command} on the step thread, after all earlier ones. Any thread; never blocks. */
  public void post(Runnable command) {
    commands.add(command);
    wake.run();
  }

  /** No step will run again. */
  public boolean failed() {
    return failed;
  }

  /**
   * One turn. Step thread.
   *
   * @return nanoseconds after which the loop wants its next turn, unless a command comes before: 0
   *     = at once, {@link #UNTIL_POSTED}
   */
  public long turn() {
    receive();
    boolean worked = !failed && step();
    settle();
    return worked ? 0 : rest();
  }

  /** Runs what was posted, and closes the engine. Step thread; no turn comes after it. */
  public void end() {
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

  private long rest() {
    if (failed || !unchecked) {
      return UNTIL_POSTED;
    }
    long early = nextCheck - nanoTime.getAsLong();
    if (early > 0) {
      return early;
    }
    try {
      engine.checkIntegrity();
    } catch (RuntimeException | Error e) {
      fail("integrity", e);
    }
    unchecked = false;
    nextCheck = nanoTime.getAsLong() + INTEGRITY_NANOS;
    return 0;
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
