package dev.baton.router.front.rest;

import io.vertx.core.http.HttpConnection;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongSupplier;

/**
 * The open connections of the front: how many there may be, and how long one may lie idle. A
 * connection with a request in work is never idle, however slowly its tokens come. Thread-safe.
 */
final class Connections {

  private static final class State {
    final AtomicInteger inWork = new AtomicInteger();
    volatile long idleSinceNanos;
  }

  private final int most;
  private final long idleNanos;
  private final LongSupplier nanoTime;
  private final Map<HttpConnection, State> open = new ConcurrentHashMap<>();

  Connections(int most, long idleNanos, LongSupplier nanoTime) {
    this.most = most;
    this.idleNanos = idleNanos;
    this.nanoTime = nanoTime;
  }

  /** Takes a new connection, or closes it when there are enough. */
  void opened(HttpConnection connection) {
    if (open.size() >= most) {
      connection.close();
      return;
    }
    State state = new State();
    state.idleSinceNanos = nanoTime.getAsLong();
    open.put(connection, state);
    connection.closeHandler(
        closed -> {
          open.remove(connection);
          tellWaiting();
        });
  }

  void requestBegins(HttpConnection connection) {
    State state = open.get(connection);
    if (state != null) {
      state.inWork.incrementAndGet();
    }
  }

  void requestEnds(HttpConnection connection) {
    State state = open.get(connection);
    if (state != null) {
      state.idleSinceNanos = nanoTime.getAsLong();
      state.inWork.decrementAndGet();
      tellWaiting();
    }
  }

  /**
   * Blocks until every request that has arrived is answered, or the time is over.
   *
   * @return whether all are answered
   */
  synchronized boolean awaitAnswers(long nanos) throws InterruptedException {
    long end = nanoTime.getAsLong() + nanos;
    while (open.values().stream().anyMatch(state -> state.inWork.get() > 0)) {
      long left = end - nanoTime.getAsLong();
      if (left <= 0) {
        return false;
      }
      TimeUnit.NANOSECONDS.timedWait(this, left);
    }
    return true;
  }

  private synchronized void tellWaiting() {
    notifyAll();
  }

  /** Closes what has been idle for too long. */
  void closeIdle() {
    long now = nanoTime.getAsLong();
    open.forEach(
        (connection, state) -> {
          if (state.inWork.get() == 0 && now - state.idleSinceNanos > idleNanos) {
            connection.close();
          }
        });
  }

  int count() {
    return open.size();
  }
}
