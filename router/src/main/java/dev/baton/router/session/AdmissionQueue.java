package dev.baton.router.session;

import java.util.Comparator;
import java.util.PriorityQueue;
import org.jspecify.annotations.Nullable;

/**
 * Sessions that no decode worker could take, by priority and then in the order they came. One at a
 * time gets a turn to try again; who comes later does not overtake. Thread-safe; turns are given
 * outside the lock, on the thread that brought the news.
 */
final class AdmissionQueue {

  /** One that waits. */
  interface Waiter {
    /** Try now; answer with {@link AdmissionQueue#turnOver} or {@link AdmissionQueue#park}. */
    void turn();

    /** Larger goes first. */
    int priority();

    /** Smaller goes first among equals: the order of arrival. */
    long sequence();
  }

  private final int bound;
  private final PriorityQueue<Waiter> waiting =
      new PriorityQueue<>(
          Comparator.comparingInt(Waiter::priority).reversed().thenComparingLong(Waiter::sequence));
  private @Nullable Waiter trying;

  AdmissionQueue(int bound) {
    this.bound = bound;
  }

  /** Somebody waits or tries: a new session has to wait too. */
  synchronized boolean busy() {
    return trying != null || !waiting.isEmpty();
  }

  synchronized int size() {
    return waiting.size() + (trying == null ? 0 : 1);
  }

  /**
   * Lets one wait, at its place in the order.
   *
   * @param begun it has run before; such are no more than sessions at a time, and find room always
   * @return false when the queue is full
   */
  synchronized boolean park(Waiter waiter, boolean begun) {
    if (trying == waiter) {
      trying = null;
    } else if (waiting.size() >= bound && !begun) {
      return false;
    }
    waiting.add(waiter);
    return true;
  }

  /** The waiter was admitted or has ended; the next may try. Unknown waiters are ignored. */
  void turnOver(Waiter waiter) {
    boolean next = false;
    synchronized (this) {
      if (trying == waiter) {
        trying = null;
        next = true;
      } else {
        waiting.remove(waiter);
      }
    }
    if (next) {
      signal();
    }
  }

  /** Something has become free: gives the first one a turn, unless one has it. */
  void signal() {
    Waiter first;
    synchronized (this) {
      if (trying != null || waiting.isEmpty()) {
        return;
      }
      first = waiting.poll();
      trying = first;
    }
    first.turn();
  }
}
