package dev.baton.router;

import java.time.Duration;

/**
 * How much the router takes on, and for how long.
 *
 * @param maxBodyBytes of an HTTP request
 * @param maxBodyBytesInAll of all HTTP requests that arrive or are being tokenized; at least one
 *     body
 * @param maxConnections open HTTP connections; beyond it new ones are closed at once
 * @param maxSessions continuations that run or wait at the same time
 * @param maxQueued continuations that wait for a decode worker
 * @param queueTimeout longest wait for a decode worker
 * @param maxChoices continuations of one HTTP request, over all its prompts
 * @param requestTimeout of a request that names none
 * @param idleTimeout of an HTTP connection without a request in work; also for a body to arrive and
 *     for a client that reads nothing
 * @param gracePeriod for running sessions when the router closes
 */
public record RouterLimits(
    int maxBodyBytes,
    long maxBodyBytesInAll,
    int maxConnections,
    int maxSessions,
    int maxQueued,
    Duration queueTimeout,
    int maxChoices,
    Duration requestTimeout,
    Duration idleTimeout,
    Duration gracePeriod) {

  private static final int MAX_BODY_BYTES = 8 << 20;

  /** A body takes several times its length while it is parsed. */
  private static final int HEAP_PER_BODIES = 16;

  public RouterLimits {
    atLeastOne("maxBodyBytes", maxBodyBytes);
    if (maxBodyBytesInAll < maxBodyBytes) {
      throw new IllegalArgumentException(
          "maxBodyBytesInAll: " + maxBodyBytesInAll + " (expected: >= " + maxBodyBytes + ")");
    }
    atLeastOne("maxConnections", maxConnections);
    atLeastOne("maxSessions", maxSessions);
    if (maxQueued < 0) {
      throw new IllegalArgumentException("maxQueued: " + maxQueued + " (expected: >= 0)");
    }
    atLeastOne("maxChoices", maxChoices);
    positive("queueTimeout", queueTimeout);
    positive("requestTimeout", requestTimeout);
    positive("idleTimeout", idleTimeout);
    if (gracePeriod.isNegative()) {
      throw new IllegalArgumentException("gracePeriod: " + gracePeriod + " (expected: >= 0)");
    }
  }

  public static RouterLimits defaults() {
    return new RouterLimits(
        MAX_BODY_BYTES,
        Math.max(MAX_BODY_BYTES, Runtime.getRuntime().maxMemory() / HEAP_PER_BODIES),
        16_384,
        4096,
        1024,
        Duration.ofSeconds(30),
        64,
        Duration.ofMinutes(10),
        Duration.ofSeconds(60),
        Duration.ofSeconds(10));
  }

  private static void atLeastOne(String name, int value) {
    if (value < 1) {
      throw new IllegalArgumentException(name + ": " + value + " (expected: >= 1)");
    }
  }

  private static void positive(String name, Duration value) {
    if (value.toMillis() < 1) {
      throw new IllegalArgumentException(name + ": " + value + " (expected: >= 1 ms)");
    }
  }
}
