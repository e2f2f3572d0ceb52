package dev.baton.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/** Threads that begin together. */
final class Team {

  /** What the thread of a number does. */
  interface Task {
    void run(int thread);
  }

  private Team() {}

  /**
   * Runs the task on so many threads, named {@code baton-bench-0} and up; throws what the first
   * failing one threw.
   *
   * @return nanoseconds from the common start to the last end
   */
  static long run(int threads, Task task) {
    CountDownLatch ready = new CountDownLatch(threads);
    CountDownLatch start = new CountDownLatch(1);
    AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
    List<Thread> team = new ArrayList<>();
    for (int i = 0; i < threads; i++) {
      int number = i;
      team.add(
          Thread.ofPlatform()
              .name("baton-bench-" + i)
              .daemon()
              .start(
                  () -> {
                    try {
                      ready.countDown();
                      start.await();
                      task.run(number);
                    } catch (Throwable e) {
                      failure.compareAndSet(null, e);
                    }
                  }));
    }
    try {
      ready.await();
      long begun = System.nanoTime();
      start.countDown();
      for (Thread each : team) {
        each.join();
      }
      long nanos = System.nanoTime() - begun;
      Throwable first = failure.get();
      if (first != null) {
        throw new IllegalStateException("measurement failed: " + first, first);
      }
      return Math.max(1, nanos);
    } catch (InterruptedException e) {
      team.forEach(Thread::interrupt);
      Thread.currentThread().interrupt();
      throw new IllegalStateException("measurement: interrupted", e);
    }
  }
}
