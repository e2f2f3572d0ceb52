package dev.baton.worker.step;

import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/** The thread {@code baton-step}: runs the turns of a {@link StepLoop} and sleeps in between. */
public final class StepThread implements AutoCloseable {

  private volatile @Nullable Thread thread;
  private volatile boolean closing;

  /** To be called once, before {@link #close}. */
  public void start(StepLoop loop) {
    Thread started = Thread.ofPlatform().name("baton-step").unstarted(() -> run(loop));
    thread = started;
    started.start();
  }

  /** Ends the thread's sleep, or keeps it from the next one. Any thread; never blocks. */
  public void wake() {
    LockSupport.unpark(thread);
  }

  /** Has the loop end, and waits for the thread's end. */
  @Override
  public void close() {
    closing = true;
    wake();
    Thread running = thread;
    boolean interrupted = false;
    while (running != null && running.isAlive()) {
      try {
        running.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void run(StepLoop loop) {
    while (!closing) {
      long rest = loop.turn();
      if (rest == StepLoop.UNTIL_POSTED) {
        LockSupport.park(this);
      } else if (rest > 0) {
        LockSupport.parkNanos(this, rest);
      }
    }
    loop.end();
  }
}
