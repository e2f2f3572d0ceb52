package dev.baton.engine.schedule;

import java.util.Arrays;

/**
 * What runs in one step: sessions, each with a number of tokens from its first uncomputed one on.
 * Reused from step to step.
 */
public final class StepPlan {

  private Session[] sessions = new Session[16];
  private int[] tokens = new int[16];
  private int size;
  private int total;

  public int size() {
    return size;
  }

  /** Tokens of all sessions. */
  public int totalTokens() {
    return total;
  }

  public Session session(int index) {
    return sessions[index];
  }

  /** Tokens of the session at {@code index}, >= 1. */
  public int tokens(int index) {
    return tokens[index];
  }

  void clear() {
    Arrays.fill(sessions, 0, size, null);
    size = 0;
    total = 0;
  }

  void add(Session session, int count) {
    if (size == sessions.length) {
      sessions = Arrays.copyOf(sessions, 2 * size);
      tokens = Arrays.copyOf(tokens, 2 * size);
    }
    sessions[size] = session;
    tokens[size++] = count;
    total += count;
  }
}
