package dev.baton.simulation.network;

import dev.baton.simulation.clock.Process;
import java.util.ArrayDeque;
import java.util.Deque;

/** One direction of a connection: what goes in comes out in order, later, at the other process. */
final class Pipe {

  private record Item(long arrival, Runnable delivery) {}

  private final Network network;
  private final Process from;
  private final Process to;
  private final Deque<Item> items = new ArrayDeque<>();
  private long last;
  private boolean set;

  Pipe(Network network, Process from, Process to) {
    this.network = network;
    this.from = from;
    this.to = to;
  }

  boolean joins(String one, String other) {
    return from.name().equals(one) && to.name().equals(other);
  }

  /** Runs the delivery at the other process when it has arrived there. */
  void send(Runnable delivery) {
    last = Math.max(last, from.instant() + network.latency());
    items.addLast(new Item(last, delivery));
    set(last);
  }

  /** The hosts have met again. */
  void resume() {
    set(network.time().now() + network.retryPause());
  }

  private void set(long at) {
    if (!set) {
      set = true;
      network.time().at(at, this::pump);
    }
  }

  private void pump() {
    set = false;
    while (!items.isEmpty()) {
      if (!network.reaches(from, to)) {
        network.stuck(this);
        return;
      }
      if (items.element().arrival() > network.time().now()) {
        set(items.element().arrival());
        return;
      }
      to.run(items.remove().delivery());
    }
  }
}
