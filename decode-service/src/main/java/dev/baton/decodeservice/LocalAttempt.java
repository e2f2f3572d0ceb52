package dev.baton.decodeservice;

import dev.baton.engine.Engine;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.Attempt;
import dev.baton.worker.session.Session;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import org.jspecify.annotations.Nullable;

/** A session whose prompt is computed here, between the decode steps of the others. Step thread. */
final class LocalAttempt implements Attempt, Movable {

  private final WorkerContext worker;
  private final Engine engine;
  private final Session<DecodeEvent> session;
  private @Nullable Suspension suspension;

  LocalAttempt(WorkerContext worker, Session<DecodeEvent> session) {
    this.worker = worker;
    this.engine = worker.engine();
    this.session = session;
  }

  @Override
  public void begin() {
    engine.generate(session.generation(), new TokenStream(session, 0, this::leave));
  }

  @Override
  public void abandon(String reason) {
    if (suspension == null) {
      leave();
    } else {
      suspension.abandon(reason);
    }
  }

  @Override
  public void suspend() {
    if (suspension == null) {
      suspension = new Suspension(worker, session, this::leave);
    }
  }

  @Override
  public Suspension suspension() {
    if (suspension == null) {
      throw new RefusedException(
          Failures.invalid("", "session: %s runs (expected: suspended)".formatted(session.id())));
    }
    return suspension;
  }

  private void leave() {
    engine.release(session.id());
    session.leave();
  }
}
