package dev.baton.engine.schedule;

import dev.baton.device.StepBatch;
import java.util.Arrays;

/**
 * What runs in one step: sessions, each with a number of tokens from its first uncomputed one on.
 * Reused from step to step.
 */
public final class StepPlan {

  private Session[] sessions = new Session[16];
  private int[] tokens = new int[16];
  private int[] rows = new int[16];
  private int size;
  private int total;
  private int prefill;
  private int scored;

  public int size() {
    return size;
  }

  /** Tokens of all sessions. */
  public int totalTokens() {
    return total;
  }

  /** Those of them that prefill. */
  public int prefillTokens() {
    return prefill;
  }

  /** Sessions that decode. */
  public int decodes() {
    return total - prefill;
  }

  public Session session(int index) {
    return sessions[index];
  }

  /** Tokens whose logits tell how likely a prompt token was. */
  int scoredTokens() {
    return scored;
  }

  /** Tokens of the session at {@code index}, >= 1. */
  public int tokens(int index) {
    return tokens[index];
  }

  /**
   * The first row of logits of the session at {@code index}, if it has one. After {@link #writeTo}.
   */
  public int row(int index) {
    return rows[index];
  }

  /** Fills and seals a batch: the sessions in order, logits where {@link Session#needsLogits}. */
  public void writeTo(StepBatch batch) {
    batch.begin();
    int row = 0;
    for (int i = 0; i < size; i++) {
      Session session = sessions[i];
      batch.addSequence(session.table().blocks(), session.table().count());
      int from = session.computed();
      rows[i] = row;
      for (int position = from; position < from + tokens[i]; position++) {
        boolean needsLogits = session.needsLogits(position);
        batch.addToken(session.token(position), position, needsLogits);
        row += needsLogits ? 1 : 0;
      }
    }
    batch.seal();
  }

  void clear() {
    Arrays.fill(sessions, 0, size, null);
    size = 0;
    total = 0;
    prefill = 0;
    scored = 0;
  }

  void add(Session session, int count) {
    if (size == sessions.length) {
      sessions = Arrays.copyOf(sessions, 2 * size);
      tokens = Arrays.copyOf(tokens, 2 * size);
      rows = Arrays.copyOf(rows, 2 * size);
    }
    sessions[size] = session;
    tokens[size++] = 0;
    grow(size - 1, count);
  }

  /** Gives the session at {@code index} more tokens. */
  void grow(int index, int more) {
    Session session = sessions[index];
    int from = session.computed() + tokens[index];
    for (int position = from; position < from + more; position++) {
      scored += session.scores(position) ? 1 : 0;
    }
    tokens[index] += more;
    total += more;
    prefill += session.isPrefilling() ? more : 0;
  }
}
