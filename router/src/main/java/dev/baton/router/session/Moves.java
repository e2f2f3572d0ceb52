package dev.baton.router.session;

import dev.baton.router.registry.Worker;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Whose turn it is to leave a worker. A few sessions of a worker move at a time: together they
 * would share processors and wire, and each would stand still for longer. Thread-safe.
 */
final class Moves {

  /** One that is copied while another one ends. */
  static final int AT_A_TIME = 2;

  private static final class Leaving {
    final Deque<Session> waiting = new ArrayDeque<>();
    int turns;
  }

  private final Map<Worker, Leaving> workers = new HashMap<>();

  /** The session waits for its turn, {@link Session#leaveNow}; none while it waits already. */
  void ask(Worker from, Session session) {
    List<Session> next;
    synchronized (this) {
      Leaving leaving = workers.computeIfAbsent(from, _ -> new Leaving());
      if (leaving.waiting.contains(session)) {
        return;
      }
      leaving.waiting.add(session);
      next = next(from, leaving);
    }
    next.forEach(turn -> turn.leaveNow(from));
  }

  /** A turn is over, whatever has become of the session. */
  void over(Worker from) {
    List<Session> next;
    synchronized (this) {
      Leaving leaving = workers.get(from);
      if (leaving == null || leaving.turns == 0) {
        throw new IllegalStateException(
            "turn: over on %s (expected: one that was given)".formatted(from.id()));
      }
      leaving.turns--;
      next = next(from, leaving);
    }
    next.forEach(turn -> turn.leaveNow(from));
  }

  private List<Session> next(Worker from, Leaving leaving) {
    List<Session> next = new ArrayList<>();
    while (leaving.turns < AT_A_TIME && !leaving.waiting.isEmpty()) {
      leaving.turns++;
      next.add(leaving.waiting.remove());
    }
    if (leaving.turns == 0) {
      workers.remove(from);
    }
    return next;
  }
}
