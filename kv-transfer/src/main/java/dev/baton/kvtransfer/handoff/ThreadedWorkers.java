package dev.baton.kvtransfer.handoff;

import java.time.Duration;
import java.util.List;
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
 * The threads of a running worker process: {@code baton-kv-timer} and, where packing and unpacking
 * wait for a device, {@code baton-kv-pack} and {@code baton-kv-unpack}. Their queues are as long as
 * the slab pools allow.
 */
public final class ThreadedWorkers implements HandoffWorkers {
  private static final long TICK_MILLIS = 100;

  /** Packing and unpacking threads, where there are any. */
  private final List<ExecutorService> own;

  private final Executor packer;
  private final Executor unpacker;
  private final ScheduledExecutorService timer =
      Executors.newSingleThreadScheduledExecutor(thread("baton-kv-timer"));
  private @Nullable ScheduledFuture<?> ticks;

  /** With threads of their own for packing and unpacking. */
  public ThreadedWorkers() {
    ExecutorService packing = single("baton-kv-pack");
    ExecutorService unpacking = single("baton-kv-unpack");
    packer = packing;
    unpacker = unpacking;
    own = List.of(packing, unpacking);
  }

  /**
   * Without: a slab that has just landed is in the caches of the processor that fetched it, and one
   * that has been packed goes out without waking another thread. On a machine with few processors
   * the packing thread and the transport's would wait for each other, and for the peer.
   *
   * @param transport its thread; runs what it was given before it ends
   */
  public ThreadedWorkers(Executor transport) {
    packer = transport;
    unpacker = transport;
    own = List.of();
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
      boolean ended = submitted.await(seconds, TimeUnit.SECONDS);
      own.forEach(ExecutorService::shutdown);
      for (ExecutorService thread : own) {
        ended = ended && thread.awaitTermination(seconds, TimeUnit.SECONDS);
      }
      return ended && timer.awaitTermination(seconds, TimeUnit.SECONDS);
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
