package dev.baton.simulation;

import dev.baton.proto.errors.v1.Failure;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Says what a client may have to bear, and keeps the first violation of it. One that is calm bears
 * nothing; a fault excuses failures of sessions that it met, and only those that speak of it.
 */
final class Judge {

  /** A fault may be noticed so long after its end. */
  private static final long AFTERMATH_NANOS = 3_000_000_000L;

  /** A router that stood still answers that much later. */
  private static final long AT_ONCE_NANOS = 18_000_000_000L;

  private final Scenario scenario;
  private @Nullable String violation;

  Judge(Scenario scenario) {
    this.scenario = scenario;
  }

  boolean failed() {
    return violation != null;
  }

  Optional<String> violation() {
    return Optional.ofNullable(violation);
  }

  /** A promise was broken. */
  void violated(String what) {
    if (violation == null) {
      violation = what;
    }
  }

  /**
   * A session has failed.
   *
   * @param asked when the client asked for it
   */
  void failed(Scenario.Request request, long asked, Failure failure, long now) {
    if (!excused(request, asked, failure, now)) {
      violated(
          "%s failed without need: %s %s"
              .formatted(request.id(), failure.getCode(), failure.getMessage()));
    }
  }

  private boolean excused(Scenario.Request request, long asked, Failure failure, long now) {
    return switch (failure.getCode()) {
      case DEADLINE_EXCEEDED ->
          !request.generous() && now - asked >= request.deadlineMillis() * 970_000;
      case OVERLOADED -> scenario.tightQueue();
      case WORKER_LOST, HANDOFF_FAILED, DRAINING ->
          scenario.tightQueue() && failure.getMessage().contains("; waited ");
      // Who comes to an empty pool is told so; who was taken in is not.
      case NO_WORKER -> troubled(asked, now) && now - asked < AT_ONCE_NANOS;
      default -> false;
    };
  }

  /** A fault met this time. */
  private boolean troubled(long from, long to) {
    return scenario.faults().stream()
        .anyMatch(fault -> fault.from() <= to && fault.to() + AFTERMATH_NANOS >= from);
  }
}
