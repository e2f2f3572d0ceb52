package dev.baton.simulation;

import dev.baton.simulation.cluster.Reached;
import dev.baton.simulation.cluster.Seams;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** Runs many seeds on a few threads. */
public final class Campaign {

  /**
   * How it is going.
   *
   * @param done seeds so far
   * @param failed of them
   * @param events of virtual time so far
   * @param reached by all of them
   */
  public record Progress(long done, int failed, long events, Reached reached) {}

  private Campaign() {}

  /**
   * Runs seeds {@code from} to {@code to}, both included.
   *
   * @param mostFailures after which it stops early
   * @param seams gives each run its own
   * @param onFailure hears of each failing seed at once; on any of the threads, one at a time
   * @param onProgress hears after each seed; likewise
   */
  public static Progress run(
      long from,
      long to,
      int threads,
      int mostFailures,
      Supplier<Seams> seams,
      Consumer<Verdict> onFailure,
      Consumer<Progress> onProgress)
      throws InterruptedException {
    AtomicLong next = new AtomicLong(from);
    AtomicLong done = new AtomicLong();
    AtomicLong events = new AtomicLong();
    AtomicInteger failed = new AtomicInteger();
    AtomicReference<Reached> reached = new AtomicReference<>(Reached.NOTHING);
    Object telling = new Object();
    List<Thread> running = new ArrayList<>();
    for (int i = 0; i < threads; i++) {
      running.add(
          Thread.ofPlatform()
              .name("simulation-" + i)
              .start(
                  () -> {
                    while (failed.get() < mostFailures) {
                      long seed = next.getAndIncrement();
                      if (seed > to) {
                        return;
                      }
                      Verdict verdict = Simulation.run(seed, seams.get(), Trace.OFF);
                      events.addAndGet(verdict.events());
                      reached.accumulateAndGet(verdict.reached(), Reached::plus);
                      synchronized (telling) {
                        if (!verdict.holds()) {
                          failed.incrementAndGet();
                          onFailure.accept(verdict);
                        }
                        onProgress.accept(
                            new Progress(
                                done.incrementAndGet(), failed.get(), events.get(), reached.get()));
                      }
                    }
                  }));
    }
    for (Thread thread : running) {
      thread.join();
    }
    return new Progress(done.get(), failed.get(), events.get(), reached.get());
  }
}
