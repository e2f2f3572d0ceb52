package dev.baton.router.session;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.worker.v1.HandedOff;
import org.jspecify.annotations.Nullable;

/** Watches all sessions, for metrics. Called on any thread, must not block. */
public interface SessionObserver {

  void started(String model);

  /** A token came; nanoseconds since the start for the first, else since the token before. */
  void token(String model, boolean first, long nanos);

  /** A computed prompt has gone to its decode worker. */
  void handedOff(String model, HandedOff handOff);

  /** A session that decodes has gone to another worker with its KV. */
  void moved(String model, HandedOff handOff);

  /**
   * A prefix was asked of a worker for another one.
   *
   * @param tokens that came; 0 = it was given up
   */
  void prefixFetched(String model, int tokens, long nanos);

  void ended(String model, Outcome outcome);

  /**
   * How a session ended.
   *
   * @param reason null unless it ended in order
   * @param error null when it ended in order
   */
  record Outcome(
      @Nullable FinishReason reason,
      @Nullable ErrorCode error,
      int promptTokens,
      int generatedTokens,
      long nanos) {}
}
