package dev.baton.kvtransfer.handoff;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The threads of a running worker process: {@code baton-kv-pack}, {@code baton-kv-timer} and, where
 * unpacking waits for a device, {@code baton-kv-unpack}. Their queues are as long as the slab pools
 * allow.
 */
public final class ThreadedWorkers implements HandoffWorkers {
  private static final long TICK_MILLIS = 100;

  private final ExecutorService packer = single("baton-kv-pack");
  private final @Nullable ExecutorService ownUnpacker;
  private final Executor unpacker;
  private final ScheduledExecutorService timer =
      Executors.newSingleThreadScheduledExecutor(thread("baton-kv-timer"));
  private @Nullable ScheduledFuture<?> ticks;

  /** With a thread of its own for unpacking. */
  public ThreadedWorkers() {
    ownUnpacker = single("baton-kv-unpack");
    unpacker = ownUnpacker;
  }

  /**
   * Without: a slab that has just landed is in the caches of the processor that fetched it.
   *
   * @param unpacker the transport's thread; runs what it was given before it ends
   */
  public ThreadedWorkers(Executor unpacker) {
    ownUnpacker = null;
    this.unpacker = unpacker;
  }

  @Override
  public Executor packer() {
    return packer;
  }

  @Override
  public Executor unpacker() {
    return unpacker;
  }

  @Override
  public void everyTick(Runnable task) {
    ticks = timer.scheduleWithFixedDelay(task, TICK_MILLIS, TICK_MILLIS, TimeUnit.MILLISECONDS);
  }

  @Override
  public boolean await(CountDownLatch latch, Duration most) {
    try {
      return latch.await(most.toNanos(), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  @Override
  public boolean close(CountDownLatch submitted, long seconds) {
    if (ticks != null) {
      ticks.cancel(false);
    }
    timer.shutdownNow();
    try {
      boolean quiet = submitted.await(seconds, TimeUnit.SECONDS);
      packer.shutdown();
      if (ownUnpacker != null) {
        ownUnpacker.shutdown();
      }
      return quiet
          && packer.awaitTermination(seconds, TimeUnit.SECONDS)
          && (ownUnpacker == null || ownUnpacker.awaitTermination(seconds, TimeUnit.SECONDS))
          && timer.awaitTermination(seconds, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  private static ExecutorService single(String name) {
    return Executors.newSingleThreadExecutor(thread(name));
  }

  private static ThreadFactory thread(String name) {
    return Thread.ofPlatform().name(name).daemon(true).factory();
  }
}
