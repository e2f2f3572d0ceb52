package dev.baton.engine;

/**
 * A view's blocks were taken for another session. The view stays closed; {@link Engine#kv} gives
 * another one, of the same KV, when the session goes on.
 */
public final class KvPreemptedException extends IllegalStateException {

  KvPreemptedException(SessionId session) {
    super("kv: session %s (expected: not preempted yet)".formatted(session));
  }
}
