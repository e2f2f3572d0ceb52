package dev.baton.simulation.clock;

import java.util.PriorityQueue;

/**
 * The one queue of events that a simulation is: whatever happens, happens in {@link #step}, on the
 * thread that calls it, at the instant {@link #now}. Events of the same instant run in the order in
 * which they were set. Nanoseconds from 0.
 */
public final class VirtualTime {

  /** An event that has been set. */
  public static final class Event implements Comparable<Event> {
    private final long at;
    private final long order;
    private final Runnable action;
    private boolean cancelled;

    private Event(long at, long order, Runnable action) {
      this.at = at;
      this.order = order;
      this.action = action;
    }

    /** No effect on one that has run. */
    public void cancel() {
      cancelled = true;
    }

    @Override
    public int compareTo(Event other) {
      int byTime = Long.compare(at, other.at);
      return byTime != 0 ? byTime : Long.compare(order, other.order);
    }
  }

  private final PriorityQueue<Event> queue = new PriorityQueue<>(256);
  private long now;
  private long orders;
  private long run;

  public long now() {
    return now;
  }

  /** Events run so far. */
  public long eventsRun() {
    return run;
  }

  /** Events set and not run. */
  public int pending() {
    return queue.size();
  }

  /** Sets an event; one of the past runs next. */
  public Event at(long nanos, Runnable action) {
    Event event = new Event(Math.max(now, nanos), orders++, action);
    queue.add(event);
    return event;
  }

  /** Runs the next event, unless there is none up to {@code until}; then time stands there. */
  public boolean step(long until) {
    while (true) {
      Event next = queue.peek();
      if (next == null || next.at > until) {
        now = Math.max(now, until);
        return false;
      }
      queue.poll();
      if (!next.cancelled) {
        now = next.at;
        run++;
        next.action.run();
        return true;
      }
    }
  }
}
