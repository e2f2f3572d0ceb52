package dev.baton.simulation.sabotage;

import dev.baton.engine.Engine;
import dev.baton.engine.EngineStatus;
import dev.baton.engine.Generation;
import dev.baton.engine.Holding;
import dev.baton.engine.KvView;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.SessionId;
import dev.baton.engine.SessionListener;
import dev.baton.engine.SuspendedSession;
import java.util.List;

/** Passes everything on. */
class ForwardingEngine implements Engine {

  private final Engine inner;

  ForwardingEngine(Engine inner) {
    this.inner = inner;
  }

  @Override
  public ModelInfo model() {
    return inner.model();
  }

  @Override
  public EngineStatus status() {
    return inner.status();
  }

  @Override
  public void generate(Generation generation, SessionListener listener) {
    inner.generate(generation, listener);
  }

  @Override
  public void prefill(Generation generation, SessionListener listener) {
    inner.prefill(generation, listener);
  }

  @Override
  public KvView kv(SessionId session) {
    return inner.kv(session);
  }

  @Override
  public void closeKv(SessionId session) {
    inner.closeKv(session);
  }

  @Override
  public int reservePrefix(Generation generation, SessionListener listener) {
    return inner.reservePrefix(generation, listener);
  }

  @Override
  public int reserve(Generation generation, SessionListener listener) {
    return reserve(generation, 0, listener);
  }

  @Override
  public int reserve(Generation generation, int room, SessionListener listener) {
    return inner.reserve(generation, room, listener);
  }

  @Override
  public void start(SessionId session, int firstToken) {
    start(session, new int[0], firstToken);
  }

  @Override
  public void start(SessionId session, int[] added, int firstToken) {
    inner.start(session, added, firstToken);
  }

  @Override
  public int pin(Generation generation, SessionListener listener) {
    return inner.pin(generation, listener);
  }

  @Override
  public void publish(SessionId session) {
    inner.publish(session);
  }

  @Override
  public SuspendedSession suspend(SessionId session) {
    return inner.suspend(session);
  }

  @Override
  public long progress() {
    return inner.progress();
  }

  @Override
  public List<Holding> holdings() {
    return inner.holdings();
  }

  @Override
  public void release(SessionId session) {
    inner.release(session);
  }

  @Override
  public boolean step() {
    return inner.step();
  }

  @Override
  public void checkIntegrity() {
    inner.checkIntegrity();
  }

  @Override
  public void close() {
    inner.close();
  }
}
