package dev.baton.device.cuda;

import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * A few stagings for many threads: one waits when all are in use. Made when first needed, or all at
 * once; freed with their GPU.
 */
final class Stagings<T> {

  private final int most;
  private final Supplier<T> maker;
  private final AtomicInteger made = new AtomicInteger();
  private final BlockingQueue<T> idle = new LinkedBlockingQueue<>();

  Stagings(int most, Supplier<T> maker) {
    this.most = most;
    this.maker = maker;
  }

  void use(Consumer<T> work) {
    T staging = take();
    try {
      work.accept(staging);
    } finally {
      idle.add(staging);
    }
  }

  /** Makes all there can be, now; nobody uses one yet. */
  void makeAll() {
    while (made.get() < most) {
      idle.add(maker.get());
      made.getAndIncrement();
    }
  }

  private T take() {
    T staging = idle.poll();
    if (staging != null) {
      return staging;
    }
    if (made.getAndIncrement() < most) {
      try {
        return maker.get();
      } catch (RuntimeException e) {
        made.getAndDecrement();
        throw e;
      }
    }
    made.getAndDecrement();
    return await();
  }

  /** An interrupt does not end the wait: whoever has the staging gives it back soon. */
  private T await() {
    boolean interrupted = false;
    try {
      while (true) {
        try {
          return idle.take();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }
}
