package dev.baton.router.failure;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;

/**
 * A request that cannot be served, with the {@link Failure} that its client shall see. Carries no
 * stack trace: it is an answer, not a fault.
 */
public final class FailureException extends RuntimeException {

  private final transient Failure failure;

  public FailureException(Failure failure) {
    super(failure.getCode() + ": " + failure.getMessage(), null, false, false);
    this.failure = failure;
  }

  /** An {@link ErrorCode#INVALID_REQUEST} at a field of the public API. */
  public static FailureException invalid(String field, String message) {
    return new FailureException(Failures.of(ErrorCode.INVALID_REQUEST, message, field));
  }

  public Failure failure() {
    return failure;
  }
}
