package dev.baton.router.front.rest;

import java.util.concurrent.atomic.AtomicLong;

/**
 * How many bytes of bodies the front may hold at once, from their arrival until they are parsed and
 * tokenized. Without it a few hundred connections with a large body each would fill the heap.
 * Thread-safe.
 */
final class BodyBudget {

  private final long most;
  private final AtomicLong held = new AtomicLong();

  BodyBudget(long most) {
    this.most = most;
  }

  /** Takes the bytes, or nothing when there are not that many left. */
  boolean take(int bytes) {
    if (held.addAndGet(bytes) <= most) {
      return true;
    }
    held.addAndGet(-bytes);
    return false;
  }

  void give(int bytes) {
    held.addAndGet(-bytes);
  }
}
