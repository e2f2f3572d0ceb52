package dev.baton.engine;

import org.jspecify.annotations.Nullable;

/**
 * A request that the engine refuses or cannot finish. The message names the field, the value and
 * what was expected.
 */
public final class EngineException extends RuntimeException {

  /** What kind of refusal; each maps to one error code of the platform. */
  public enum Kind {
    /** A field is out of range. */
    INVALID,
    /** The context leaves no room for a token, or the session can never fit the KV cache. */
    TOO_LONG,
    /** No blocks or no session slot now; later there may be. */
    NO_CAPACITY,
    /** The model directory cannot be loaded. */
    BAD_MODEL,
    /** A fault of ours. */
    INTERNAL
  }

  private final Kind kind;

  public EngineException(Kind kind, String message) {
    this(kind, message, null);
  }

  public EngineException(Kind kind, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.kind = kind;
  }

  public Kind kind() {
    return kind;
  }
}
