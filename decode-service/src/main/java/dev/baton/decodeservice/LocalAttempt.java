package dev.baton.decodeservice;

import dev.baton.engine.Engine;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.worker.session.Attempt;
import dev.baton.worker.session.Session;

/** A session whose prompt is computed here, between the decode steps of the others. Step thread. */
final class LocalAttempt implements Attempt {

  private final Engine engine;
  private final Session<DecodeEvent> session;

  LocalAttempt(Engine engine, Session<DecodeEvent> session) {
    this.engine = engine;
    this.session = session;
  }

  @Override
  public void begin() {
    engine.generate(session.generation(), new TokenStream(session, 0, this::leave));
  }

  @Override
  public void abandon(String reason) {
    leave();
  }

  private void leave() {
    engine.release(session.id());
    session.leave();
  }
}
