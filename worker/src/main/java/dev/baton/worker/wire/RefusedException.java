package dev.baton.worker.wire;

import dev.baton.proto.errors.v1.Failure;

/** A request that this worker does not take; carries what its sender is to hear. */
public final class RefusedException extends RuntimeException {

  private final Failure failure;

  public RefusedException(Failure failure) {
    super(failure.getMessage());
    this.failure = failure;
  }

  static RefusedException invalid(String field, String message) {
    return new RefusedException(Failures.invalid(field, message));
  }

  public Failure failure() {
    return failure;
  }
}
