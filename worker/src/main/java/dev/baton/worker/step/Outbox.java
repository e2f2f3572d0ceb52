package dev.baton.worker.step;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The events of a step on their way to the streams. The step thread adds them while it runs and
 * flushes them once a step; one thread, {@code baton-events}, sends them in order while the next
 * step computes. So every stream is written by that thread alone, and a step wakes it once, however
 * many sessions it served.
 *
 * <p>What may wait here is bounded: a session has at most maxTokens events, and sessions are
 * bounded by their table.
 */
public final class Outbox implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(Outbox.class);

  private final ExecutorService sender;
  private List<Runnable> waiting = new ArrayList<>();

  /** Sends on a thread of its own. */
  public Outbox() {
    this(Executors.newSingleThreadExecutor(Thread.ofPlatform().name("baton-events").factory()));
  }

  /**
   * @param sender runs one task at a time, in order; shut down at the close
   */
  public Outbox(ExecutorService sender) {
    this.sender = sender;
  }

  /** Puts a send behind all earlier ones. Step thread. */
  public void add(Runnable send) {
    waiting.add(send);
  }

  /** Hands everything added so far to the sending thread. Step thread. */
  public void flush() {
    if (waiting.isEmpty()) {
      return;
    }
    List<Runnable> batch = waiting;
    waiting = new ArrayList<>();
    sender.execute(() -> batch.forEach(Outbox::send));
  }

  private static void send(Runnable send) {
    try {
      send.run();
    } catch (RuntimeException e) {
      // A call that ended in the same instant; its cancellation frees the session.
      log.debug("event not sent", e);
    }
  }

  /** Sends what was flushed and ends the thread. After the step thread's end. */
  @Override
  public void close() {
    sender.shutdown();
    try {
      if (!sender.awaitTermination(2, TimeUnit.SECONDS)) {
        log.warn("events: some were not sent within 2 s");
        sender.shutdownNow();
      }
    } catch (InterruptedException e) {
      sender.shutdownNow();
      Thread.currentThread().interrupt();
    }
  }
}
