package dev.baton.worker.fakes;

import dev.baton.worker.session.Alarms;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** Alarms on a clock that stands still until the test moves it. */
public final class ManualAlarms implements Alarms {

  private record Entry(long at, Runnable action) {}

  private final List<Entry> entries = new ArrayList<>();
  private long now;

  @Override
  public synchronized Alarm after(Duration delay, Runnable action) {
    Entry entry = new Entry(now + delay.toNanos(), action);
    entries.add(entry);
    return () -> cancel(entry);
  }

  private synchronized void cancel(Entry entry) {
    entries.remove(entry);
  }

  /** Alarms that have been set, and neither gone off nor been cancelled. */
  public synchronized int set() {
    return entries.size();
  }

  /** Moves the clock and sets off what is due, in order. */
  public void advance(Duration time) {
    List<Entry> due;
    synchronized (this) {
      now += time.toNanos();
      due =
          entries.stream()
              .filter(e -> e.at <= now)
              .sorted(Comparator.comparingLong(Entry::at))
              .toList();
      entries.removeAll(due);
    }
    due.forEach(entry -> entry.action.run());
  }
}
