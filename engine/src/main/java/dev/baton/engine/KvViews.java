package dev.baton.engine;

import dev.baton.engine.cache.BlockTable;
import dev.baton.engine.model.ModelRunner;
import dev.baton.engine.schedule.Session;
import dev.baton.engine.schedule.Session.State;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/** The views that are open, one for each session at most. Step thread only. */
final class KvViews {

  private final ModelRunner runner;
  private final Map<SessionId, SessionKv> open = new HashMap<>();

  KvViews(ModelRunner runner) {
    this.runner = runner;
  }

  /** The session's view, opened on first use. */
  KvView of(Session session) {
    return open.computeIfAbsent(session.id(), id -> view(id, session));
  }

  /** More of the session is computed. */
  void advance(Session session) {
    SessionKv view = open.get(session.id());
    if (view != null) {
      view.setComputed(session.computed());
    }
  }

  void close(SessionId session) {
    SessionKv view = open.remove(session);
    if (view != null) {
      view.close();
    }
  }

  private SessionKv view(SessionId id, Session session) {
    BlockTable table = session.table();
    int[] blocks = Arrays.copyOf(table.blocks(), table.count());
    int writableTo = session.state() == State.RESERVED ? session.length() : 0;
    return new SessionKv(id, runner, blocks, session.computed(), writableTo);
  }
}
