package dev.baton.engine;

import dev.baton.engine.cache.Window;
import dev.baton.engine.model.ModelRunner;
import dev.baton.engine.schedule.Session;
import dev.baton.engine.schedule.Session.State;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/** The views that are open, one for each session at most. Step thread only. */
final class KvViews {

  private final ModelRunner runner;
  private final Window window;
  private final Map<SessionId, SessionKv> open = new HashMap<>();

  KvViews(ModelRunner runner, Window window) {
    this.runner = runner;
    this.window = window;
  }

  /** The session's view, opened on first use. */
  KvView of(Session session) {
    return open.computeIfAbsent(session.id(), id -> view(id, session));
  }

  /** More of the session is computed. */
  void advance(Session session) {
    SessionKv view = open.get(session.id());
    if (view != null) {
      if (session.table().first() > 0 || session.computed() > view.tokens()) {
        // The session has got blocks that it had not when the view opened.
        view.setBlocks(blocks(session));
      }
      view.setComputed(session.computed());
    }
  }

  /** The first token that a hand-off has brought into a reserved session. */
  int arrivedFrom(Session session) {
    SessionKv view = open.get(session.id());
    return view == null ? session.computed() : view.arrivedFrom(session.computed());
  }

  void preempt(SessionId session) {
    SessionKv view = open.remove(session);
    if (view != null) {
      view.preempt();
    }
  }

  void close(SessionId session) {
    SessionKv view = open.remove(session);
    if (view != null) {
      view.close();
    }
  }

  private SessionKv view(SessionId id, Session session) {
    int places = session.table().count() * window.blockTokens();
    int writableTo =
        session.state() == State.RESERVED ? Math.min(places, session.length() + session.room()) : 0;
    return new SessionKv(
        id,
        runner,
        blocks(session),
        window.size(),
        firstToken(session),
        session.computed(),
        writableTo);
  }

  /** Where that begins which a later token sees of the context, or of all computed since. */
  private int firstToken(Session session) {
    int start = window.start(Math.max(session.generation().contextTokens(), session.computed()));
    int block = start / window.blockTokens();
    // A block of the prefix cache is whole.
    return block < session.table().shared() ? block * window.blockTokens() : start;
  }

  private static int[] blocks(Session session) {
    return Arrays.copyOf(session.table().blocks(), session.table().count());
  }
}
