package dev.baton.engine;

import java.util.Locale;

/**
 * A line of the account: what one session holds of one kind, and why.
 *
 * @param reason as the account names it
 * @param count blocks, or pages
 * @param sinceNanos when the first of them was taken, by the engine's clock
 */
public record Holding(SessionId session, Kind kind, String reason, int count, long sinceNanos) {

  /** What is held. */
  public enum Kind {
    /** A block of the KV cache. */
    BLOCK,
    /** A page of the swap space. */
    PAGE
  }

  /** The same line with more on it. */
  public Holding plus(int more, long since) {
    return new Holding(session, kind, reason, count + more, Math.min(sinceNanos, since));
  }

  /** In words, for people. */
  public String describe(long nowNanos) {
    return "%d %ss of session %s for %.3f s as %s"
        .formatted(
            count,
            kind.name().toLowerCase(Locale.ROOT),
            session,
            (nowNanos - sinceNanos) / 1e9,
            reason);
  }
}
