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
 * The threads of a running worker process: {@code baton-kv-pack}, {@code baton-kv-unpack} and
 * {@code baton-kv-timer}. Their queues are as long as the slab pools allow.
 */
public final class ThreadedWorkers implements HandoffWorkers {
  private static final long TICK_MILLIS = 100;

  private final ExecutorService packer = single("baton-kv-pack");
  private final ExecutorService unpacker = single("baton-kv-unpack");
  private final ScheduledExecutorService timer =
      Executors.newSingleThreadScheduledExecutor(thread("baton-kv-timer"));
  private @Nullable ScheduledFuture<?> ticks;

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
      unpacker.shutdown();
      return quiet
          && packer.awaitTermination(seconds, TimeUnit.SECONDS)
          && unpacker.awaitTermination(seconds, TimeUnit.SECONDS)
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
