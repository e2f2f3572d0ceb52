package dev.baton.router.session;

import java.util.function.LongSupplier;

/**
 * How many attempts that follow a wasted one the router makes, over all sessions: a share of recent
 * requests, and a floor for quiet times. So a pool that breaks whatever it is given is not given
 * several times the load on top. A session that finds no room waits for it; its deadline goes on.
 * What goes on after tokens were delivered is free: those tokens are paid work. Thread-safe.
 *
 * <p>The form is that of Finagle's retry budget: a bucket into which every request puts a part of a
 * retry and time puts the floor, bounded so that a long quiet time saves no storm up.
 */
final class RetryBudget {

  /** Retries that a request pays for. */
  static final double SHARE = 0.2;

  /** Retries a second that nobody need pay for. */
  static final double FLOOR_PER_SECOND = 10;

  /** Most retries at once. */
  static final double MOST = 100;

  private final LongSupplier nanoTime;
  private double balance = MOST;
  private long filledNanos;

  /**
   * @param nanoTime a clock that only rises, nanoseconds
   */
  RetryBudget(LongSupplier nanoTime) {
    this.nanoTime = nanoTime;
    this.filledNanos = nanoTime.getAsLong();
  }

  /** A request came. */
  synchronized void deposit() {
    balance = Math.min(MOST, balance + SHARE);
  }

  /**
   * Takes a retry out.
   *
   * @return false when there is none left now
   */
  synchronized boolean withdraw() {
    long now = nanoTime.getAsLong();
    balance = Math.min(MOST, balance + FLOOR_PER_SECOND * (now - filledNanos) / 1e9);
    filledNanos = now;
    if (balance < 1) {
      return false;
    }
    balance--;
    return true;
  }
}
