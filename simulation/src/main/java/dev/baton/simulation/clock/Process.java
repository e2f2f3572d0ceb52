package dev.baton.simulation.clock;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.SplittableRandom;

/**
 * One life of one process: everything that belongs to it runs through here, so that it can stand
 * still (SIGSTOP), be late, or die with all that it had planned. Its clock runs a little fast or
 * slow and goes on while it stands still.
 *
 * <p>An event may {@link #spend} time, as a step of the model does: what it sets off happens that
 * much later, and so does whatever its own thread does next.
 */
public final class Process {

  /** A new thread begins its work within this time, more or less. */
  private static final long SCHEDULING_NANOS = 40_000;

  private final VirtualTime time;
  private final SplittableRandom random;
  private final String name;
  private final double rate;
  private final long offset;
  private final Deque<Runnable> stopped = new ArrayDeque<>();
  private boolean frozen;
  private long silentAt;
  private boolean dead;
  private long spent;

  /**
   * @param name in traces
   * @param rate seconds of its clock in a second
   */
  public Process(VirtualTime time, SplittableRandom random, String name, double rate) {
    this.time = time;
    this.random = random;
    this.name = name;
    this.rate = rate;
    this.offset = random.nextLong(1L << 40);
  }

  public String name() {
    return name;
  }

  public boolean dead() {
    return dead;
  }

  public boolean frozen() {
    return frozen;
  }

  /** Since when nothing has left it; {@link Long#MAX_VALUE} while it lives. */
  public long silentSince() {
    return frozen || dead ? silentAt : Long.MAX_VALUE;
  }

  /** Neither dead nor standing still. */
  public boolean runs() {
    return !dead && !frozen;
  }

  /** The process's own monotonic clock, nanoseconds. */
  public long nanoTime() {
    return offset + (long) ((time.now() + spent) * rate);
  }

  /** The true time at which what happens now in this process is over. */
  public long instant() {
    return time.now() + spent;
  }

  /** The event that runs takes so long. */
  public void spend(long nanos) {
    spent += nanos;
  }

  /** Nothing of the process runs any more. */
  public void die() {
    dead = true;
    silentAt = time.now();
    stopped.clear();
  }

  /** Nothing of the process runs until {@link #thaw}. */
  public void freeze() {
    frozen = true;
    silentAt = time.now();
  }

  /** What came due meanwhile runs now, in order. */
  public void thaw() {
    frozen = false;
    while (!stopped.isEmpty() && runs()) {
      run(stopped.removeFirst());
    }
  }

  /** Runs the action after so long by the process's clock. */
  public VirtualTime.Event after(long localNanos, Runnable action) {
    return at(instant() + (long) (Math.max(0, localNanos) / rate), action);
  }

  /** Runs the action at the true time given. */
  public VirtualTime.Event at(long nanos, Runnable action) {
    return time.at(nanos, () -> run(action));
  }

  /** Runs the action now, unless the process is dead, or later if it stands still. */
  public void run(Runnable action) {
    if (dead) {
      return;
    }
    if (frozen) {
      stopped.addLast(action);
      return;
    }
    long before = spent;
    spent = 0;
    try {
      action.run();
    } finally {
      spent = before;
    }
  }

  /** How long a thread of this process waits for a processor, this time. */
  long delay() {
    return random.nextInt(16) == 0
        ? random.nextLong(50 * SCHEDULING_NANOS)
        : random.nextLong(SCHEDULING_NANOS);
  }
}
