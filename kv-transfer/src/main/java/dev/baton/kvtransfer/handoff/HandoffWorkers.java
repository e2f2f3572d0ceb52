package dev.baton.kvtransfer.handoff;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;

/** Where a {@link HandoffService} does what its transport's thread is not kept with. */
public interface HandoffWorkers {

  /** Runs packing and the exports' listeners, one after another, in order; may be the transport. */
  Executor packer();

  /**
   * Runs unpacking and the imports' listeners, one after another, in order; may be the transport.
   */
  Executor unpacker();

  /** Runs the task, which is short, again and again, so that deadlines are seen. */
  void everyTick(Runnable task);

  /**
   * Waits until the latch is down; the ticks go on meanwhile.
   *
   * @return false if it did not come down in time
   */
  default boolean await(CountDownLatch latch, Duration most) {
    // Nothing to wait with: for tests whose one thread runs everything.
    return latch.getCount() == 0;
  }

  /**
   * Ends after everything submitted has run.
   *
   * @param submitted comes down when nothing more will be submitted by the transport's thread
   * @return false if something did not end in time
   */
  boolean close(CountDownLatch submitted, long seconds);
}
