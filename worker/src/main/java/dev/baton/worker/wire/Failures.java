package dev.baton.worker.wire;

import dev.baton.engine.EngineException;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;

/**
 * Exceptions of engine and transfer as failures of the protocol; each kind is mapped once, here.
 */
public final class Failures {

  /** When to try again after a refusal for want of room, milliseconds. */
  private static final long RETRY_AFTER_MILLIS = 500;

  private Failures() {}

  public static Failure of(ErrorCode code, String message) {
    return Failure.newBuilder().setCode(code).setMessage(message).build();
  }

  /**
   * A request field that is malformed or out of range.
   *
   * @param field its name in the public API, empty when it has none there
   */
  public static Failure invalid(String field, String message) {
    return Failure.newBuilder()
        .setCode(ErrorCode.INVALID_REQUEST)
        .setField(field)
        .setMessage(message)
        .build();
  }

  public static Failure overloaded(String message) {
    return Failure.newBuilder()
        .setCode(ErrorCode.OVERLOADED)
        .setMessage(message)
        .setRetryAfterMillis(RETRY_AFTER_MILLIS)
        .build();
  }

  /** What the client of a session hears when {@code cause} ended it. */
  public static Failure of(RuntimeException cause) {
    return switch (cause) {
      case RefusedException refused -> refused.failure();
      case EngineException engine -> of(engine);
      case HandoffException handoff -> of(handoff);
      default -> of(ErrorCode.INTERNAL, "internal error: " + cause);
    };
  }

  private static Failure of(EngineException cause) {
    String message = text(cause);
    return switch (cause.kind()) {
      case INVALID -> invalid("", message);
      case TOO_LONG -> of(ErrorCode.CONTEXT_LENGTH_EXCEEDED, message);
      case NO_CAPACITY -> overloaded(message);
      case BAD_MODEL, INTERNAL -> of(ErrorCode.INTERNAL, message);
    };
  }

  private static Failure of(HandoffException cause) {
    String message = "hand-off: " + text(cause);
    return switch (cause.kind()) {
      case CANCELLED -> of(ErrorCode.CANCELLED, message);
      case PEER_LOST -> of(ErrorCode.WORKER_LOST, message);
      case PEER_ABORTED, CORRUPT, TIMEOUT -> of(ErrorCode.HANDOFF_FAILED, message);
      case INTERNAL -> of(ErrorCode.INTERNAL, message);
    };
  }

  private static String text(RuntimeException cause) {
    String message = cause.getMessage();
    return message == null ? cause.toString() : message;
  }
}
